use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::stats::sequential::{Events, RateDetector};

/// SplitMix64, as uniform numbers.
struct Uniform(u64);

impl Iterator for Uniform {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let mixed = crate::base::chance::mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Some((mixed >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Errors at 10 %, then 30 %, then 5 %, 2,000 values each: the stream that the indices below were taken on.
fn errors() -> Vec<f64> {
    let rates = [0.1, 0.3, 0.05].into_iter().flat_map(|rate| std::iter::repeat_n(rate, 2_000));
    rates.zip(Uniform(42)).map(|(rate, u)| f64::from(u < rate)).collect()
}

fn numbers() -> Vec<f64> {
    let later = |(place, u): (usize, f64)| if place < 1_000 { u } else { 0.6 * u + 0.4 };
    Uniform(7).take(2_000).enumerate().map(later).collect()
}

fn alarms(detector: &mut impl Detector, series: &[f64]) -> Vec<usize> {
    let drifted = |(place, x): (usize, &f64)| (detector.push(*x) == Signal::Drift).then_some(place);
    series.iter().enumerate().filter_map(drifted).collect()
}

fn first_warning(detector: &mut impl Detector, series: &[f64]) -> Option<usize> {
    series.iter().position(|x| detector.push(*x) == Signal::Warning)
}

#[test]
fn the_stream_is_the_one_of_the_golden_indices() {
    let errors = errors();
    assert_eq!(errors.iter().sum::<f64>(), 895.0);
    let ones: Vec<usize> = (0..errors.len()).filter(|place| errors[*place] == 1.0).take(2).collect();
    assert_eq!(ones, [4, 18]);
}

/// Bifet & Gavaldà 2007; river 0.26.1, `drift.ADWIN`.
#[test]
fn adwin_cuts_where_river_does() {
    let mut adwin = Adwin::new();
    assert_eq!(alarms(&mut adwin, &errors()), [2_143, 4_127]);
    assert_eq!(adwin.width(), 1_872);
    assert!((adwin.mean().unwrap() - 0.050_747_863_247_863_25).abs() < 1e-15);
    assert_eq!(alarms(&mut Adwin::new().clock(1), &errors()), [2_114, 4_115]);
    assert_eq!(alarms(&mut Adwin::new(), &numbers()), [1_119]);
}

/// River 0.26.1, `drift.ADWIN`, on values from -20 to 25 with steps of 5, 0, -8, 0 and 3 every 700.
#[test]
fn adwin_cuts_where_river_does_on_a_series_without_bounds() {
    for (seed, expected, width) in
        [(1, [767, 2_143, 3_647], 552), (2, [735, 2_111, 3_583], 616), (3, [767, 2_111, 3_551], 648)]
    {
        let mut uniform = Uniform(seed);
        let mut value = |step: f64| (0..4).filter_map(|_| uniform.next()).sum::<f64>() * 10.0 - 20.0 + step;
        let series: Vec<f64> = [0.0, 5.0, 5.0, -3.0, -3.0, 0.0]
            .into_iter()
            .flat_map(|step| (0..700).map(|_| value(step)).collect::<Vec<_>>())
            .collect();
        let mut adwin = Adwin::new();
        assert_eq!(alarms(&mut adwin, &series), expected);
        assert_eq!(adwin.width(), width);
    }
}

/// Page 1954; river 0.26.1, `drift.PageHinkley`.
#[test]
fn page_hinkley_alarms_where_river_does() {
    assert_eq!(alarms(&mut PageHinkley::default(), &errors()), [2_316, 4_187]);
    assert_eq!(
        alarms(&mut PageHinkley::new(10.0), &errors()),
        [697, 1_568, 2_038, 2_210, 2_553, 2_764, 3_093, 3_246, 3_389, 3_643, 4_036, 5_648]
    );
    let one_way = |direction| alarms(&mut PageHinkley::new(10.0).direction(direction), &errors());
    assert_eq!(one_way(Direction::Up), [697, 2_040, 2_553, 2_764]);
    assert_eq!(one_way(Direction::Down), [1_489, 4_039, 5_646]);
    assert_eq!(alarms(&mut PageHinkley::new(20.0), &numbers()), [1_094]);
}

/// Gama et al. 2004; river 0.26.1, `drift.binary.DDM`.
#[test]
fn ddm_alarms_where_river_does() {
    assert_eq!(alarms(&mut Ddm::new(), &errors()), [2_282]);
    assert_eq!(first_warning(&mut Ddm::new(), &errors()), Some(647));
}

/// Frías-Blanco et al. 2015; river 0.26.1, `drift.binary.HDDMA`.
#[test]
fn hddm_a_alarms_where_river_does() {
    assert_eq!(alarms(&mut HddmA::new(), &errors()), [2_117]);
    assert_eq!(first_warning(&mut HddmA::new(), &errors()), Some(2_072));
    assert_eq!(alarms(&mut HddmA::new().two_sided(), &errors()), [2_117, 4_119]);
}

/// Shin, Ramdas & Rinaldo 2024: both are their Shiryaev-Roberts e-detector, one in logarithms.
#[test]
fn on_bits_it_is_the_rate_detector() {
    let (mut ours, mut rate) = (ShiryaevRoberts::above(0.1, 1e4), RateDetector::new(0.1, 1e4));
    for x in &errors() {
        if ours.push(*x) == Signal::Drift {
            break;
        }
        rate.observe(Events { events: *x as u64, units: 1 });
        let (ours, theirs) = (ours.statistic().ln(), rate.statistic().ln());
        assert!((ours - theirs).abs() < 1e-5, "{ours} {theirs}");
    }
}

#[test]
fn a_fall_is_a_rise_upside_down() {
    let series = numbers();
    let mirrored: Vec<f64> = series.iter().map(|x| 1.0 - x).collect();
    let rise = alarms(&mut ShiryaevRoberts::above(0.5, 1_000.0), &series);
    assert_eq!(alarms(&mut ShiryaevRoberts::below(0.5, 1_000.0), &mirrored), rise);
    assert!(!rise.is_empty());
}

/// Shin, Ramdas & Rinaldo 2024, Theorem 2.4. At the reference with bits, which is the least favourable.
#[test]
fn false_alarms_are_as_far_apart_as_was_asked_for() {
    let mut uniform = Uniform(3);
    let mut detector = ShiryaevRoberts::above(0.2, 300.0);
    let (mut values, mut found) = (0_u32, 0_u32);
    while found < 300 {
        let error = uniform.next().is_some_and(|u| u < 0.2);
        values += 1;
        found += u32::from(detector.push(f64::from(error)) == Signal::Drift);
    }
    let average = f64::from(values) / f64::from(found);
    assert!((300.0..1_000.0).contains(&average), "{average}");
}

fn goes_on<D>(mut detector: D, series: &[f64])
where
    D: Detector + Serialize + for<'de> Deserialize<'de>,
{
    let half = series.len() / 2;
    series[..half].iter().for_each(|x| {
        detector.push(*x);
    });
    let text = serde_json::to_string(&detector).unwrap();
    let mut other: D = serde_json::from_str(&text).unwrap();
    assert_eq!(alarms(&mut other, &series[half..]), alarms(&mut detector, &series[half..]));
}

#[test]
fn every_detector_can_be_written_down_and_gone_on_with() {
    for series in [errors(), numbers(), vec![0.5; 10], vec![]] {
        goes_on(Adwin::new(), &series);
        goes_on(PageHinkley::new(10.0), &series);
        goes_on(Ddm::new(), &series);
        goes_on(HddmA::new(), &series);
        goes_on(ShiryaevRoberts::above(0.1, 500.0), &series);
    }
}

#[test]
fn what_was_tampered_with_is_refused() {
    let mut adwin = Adwin::new();
    alarms(&mut adwin, &errors()[..100]);
    let text = serde_json::to_string(&adwin).unwrap();
    let more = text.replace("\"width\":100.0", "\"width\":1000.0");
    assert!(text != more);
    let error = serde_json::from_str::<Adwin>(&more).unwrap_err().to_string();
    assert!(error.contains("add up"), "{error}");
}

#[test]
fn adwin_stays_small() {
    let mut adwin = Adwin::new();
    for (place, u) in Uniform(9).take(200_000).enumerate() {
        adwin.push(u);
        assert!(adwin.width() <= place as u64 + 1);
    }
    assert!(serde_json::to_string(&adwin).unwrap().len() < 8_000);
}

proptest! {
    #[test]
    fn no_series_breaks_a_detector(series in prop::collection::vec(any::<f64>(), 0..300)) {
        let mut adwin = Adwin::new().clock(1);
        let mut page_hinkley = PageHinkley::new(1.0);
        let (mut ddm, mut hddm_a) = (Ddm::new(), HddmA::new().two_sided());
        let mut e_sr = ShiryaevRoberts::above(0.5, 20.0);
        for x in series {
            adwin.push(x);
            page_hinkley.push(x);
            ddm.push(x);
            hddm_a.push(x);
            e_sr.push(x);
            prop_assert!(e_sr.statistic().is_finite());
            prop_assert!(adwin.mean().is_none_or(f64::is_finite));
        }
    }
}
