//! Comparing live's answer with a shadow's.

/// A comparison of tensors for [`Task::compare`](crate::Task::compare): the share of elements that lie further
/// apart than `absolute + relative * |live's|`, as numpy's `isclose` has it. Two that are not numbers are close; answers
/// of different lengths differ altogether.
///
/// ```
/// use switchback::stats::elementwise;
///
/// let difference = elementwise(1e-3, 1e-6, |output: &Vec<f32>| output.as_slice());
/// assert_eq!(difference(&vec![1.0, 2.0], &vec![1.0001, 2.5]), 0.5);
/// ```
pub fn elementwise<O>(
    relative: f64,
    absolute: f64,
    elements: impl Fn(&O) -> &[f32] + Send + Sync + 'static,
) -> impl Fn(&O, &O) -> f64 + Send + Sync + 'static {
    move |live, candidate| {
        let (live, candidate) = (elements(live), elements(candidate));
        if live.len() != candidate.len() {
            return 1.0;
        }
        let apart = live.iter().zip(candidate).filter(|(live, candidate)| {
            let (live, candidate) = (f64::from(**live), f64::from(**candidate));
            let close = live == candidate
                || (live.is_nan() && candidate.is_nan())
                || (live - candidate).abs() <= absolute + relative * live.abs();
            !close
        });
        apart.count() as f64 / live.len().max(1) as f64
    }
}
