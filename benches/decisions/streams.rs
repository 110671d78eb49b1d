//! What units are like: on the margin, where a test must keep quiet, and beyond it, where it must not.

use switchback::stats::sequential::{Claim, Part, Scores};

use crate::simulation::{Moment, Random};

/// Where the truth lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    /// Exactly on the margin: the hypothesis that is hardest to keep apart from the claim.
    AtTheMargin(Claim),
    /// Where the claim holds.
    Holding(Claim),
}

impl Truth {
    /// 1 where the claim is harm, -1 where it is that there is none.
    pub(crate) fn sign(self) -> f64 {
        match self {
            Self::AtTheMargin(Claim::Harm) | Self::Holding(Claim::Harm) => 1.0,
            Self::AtTheMargin(Claim::NonInferiority) | Self::Holding(Claim::NonInferiority) => -1.0,
        }
    }
}

/// Something, for each place where the truth may lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cases<P> {
    pub(crate) at_the_margin: P,
    pub(crate) worse: P,
    pub(crate) better: P,
}

impl<P> Cases<P> {
    fn of(&self, truth: Truth) -> &P {
        match truth {
            Truth::AtTheMargin(_) => &self.at_the_margin,
            Truth::Holding(Claim::Harm) => &self.worse,
            Truth::Holding(Claim::NonInferiority) => &self.better,
        }
    }
}

/// Where units come from.
pub(crate) trait Stream: Sync {
    /// What is known of a unit in the end.
    type Seen: Copy;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> Self::Seen;

    /// Whether the candidate answered it, where only one version did.
    fn of_candidate(_seen: Self::Seen) -> bool {
        false
    }

    /// How far it speaks against the candidate: 0 on average where both versions are alike.
    fn lean(_seen: Self::Seen, _share: f64) -> f64 {
        0.0
    }
}

/// Something of a unit that one of the two versions answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<T> {
    pub(crate) candidate: bool,
    pub(crate) seen: T,
}

impl<T> Of<T> {
    /// How far something that is bad by `bad` speaks against the candidate.
    fn lean(&self, bad: f64, share: f64) -> f64 {
        if self.candidate { bad * (1.0 - share) } else { -bad * share }
    }
}

/// Errors of one version, against a limit. On the margin, a rate that moves touches the limit and never crosses it.
pub(crate) struct Failures(pub(crate) Cases<f64>);

fn within(limit: f64, moment: &Moment, truth: Truth) -> f64 {
    match truth {
        Truth::AtTheMargin(Claim::Harm) => limit * moment.below_one,
        Truth::AtTheMargin(Claim::NonInferiority) => limit * moment.above_one,
        Truth::Holding(_) => limit * moment.times,
    }
}

impl Stream for Failures {
    type Seen = bool;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> bool {
        random.chance(within(*self.0.of(truth), moment, truth))
    }
}

/// Losses of one version, against a limit: mostly none, and else between 2 and 6 times the mean.
pub(crate) struct Losses(pub(crate) Cases<f64>);

impl Stream for Losses {
    type Seen = i16;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> i16 {
        let mean = within(*self.0.of(truth), moment, truth);
        let loss = if random.chance(0.25) { mean * (2.0 + 4.0 * random.uniform()) } else { 0.0 };
        on_the_lattice(loss, random)
    }
}

fn on_the_lattice(score: f64, random: &mut Random) -> i16 {
    Scores::place(score, random.next()).unwrap_or_default()
}

/// What both versions did with the same input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) live: bool,
    pub(crate) candidate: bool,
}

/// How often live alone, the candidate alone and both have an event.
pub(crate) type Wrong = [f64; 3];

/// Wrong answers to the same inputs. As rates move, the candidate's stay as many points above live's, or as many times as
/// large.
pub(crate) struct Pairs {
    pub(crate) wrong: Cases<Wrong>,
    pub(crate) by_points: bool,
}

impl Stream for Pairs {
    type Seen = Pair;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> Pair {
        let [only_live, only_candidate, both] = *self.wrong.of(truth);
        let live = only_live * moment.times;
        let candidate =
            if self.by_points { live + only_candidate - only_live } else { only_candidate * moment.times };
        let place = random.uniform();
        let common = live + candidate + both * moment.times;
        Pair {
            live: place < live || (live + candidate..common).contains(&place),
            candidate: (live..common).contains(&place),
        }
    }
}

/// Differences of losses on the same inputs, of which the mean is given and the spread moves.
pub(crate) struct LossPairs(pub(crate) Cases<f64>);

impl Stream for LossPairs {
    type Seen = i16;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> i16 {
        let spread = 0.2 * moment.times * (2.0 * random.uniform() - 1.0);
        on_the_lattice(self.0.of(truth) + spread, random)
    }
}

/// Whether a unit of one version had an event, and random bits of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) bad: bool,
    pub(crate) chance: u64,
}

/// Errors in two arms: live's rate, and how many times as large the candidate's is or by how many points.
pub(crate) struct Arms {
    pub(crate) rate: f64,
    pub(crate) candidate: Cases<f64>,
    pub(crate) by_points: bool,
}

impl Stream for Arms {
    type Seen = Of<Event>;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> Of<Event> {
        let candidate = random.chance(moment.share);
        let live = self.rate * moment.times;
        let rate = match (candidate, self.by_points) {
            (false, _) => live,
            (true, false) => live * self.candidate.of(truth),
            (true, true) => live + self.candidate.of(truth),
        };
        let place = random.next();
        // The lower bits have nothing to do with the upper ones.
        let bad = ((place >> 11) as f64 / (1_u64 << 53) as f64) < rate;
        Of { candidate, seen: Event { bad, chance: place << 32 } }
    }

    fn of_candidate(seen: Of<Event>) -> bool {
        seen.candidate
    }

    fn lean(seen: Of<Event>, share: f64) -> f64 {
        seen.lean(f64::from(u8::from(seen.seen.bad)), share)
    }
}

/// Costs without a bound: log-normal around 1 in both arms, and by so much larger on the candidate's.
pub(crate) struct Costs(pub(crate) Cases<f64>);

impl Costs {
    /// Of the logarithm.
    const SPREAD: f64 = 0.8;
}

impl Stream for Costs {
    type Seen = Of<f64>;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> Of<f64> {
        let candidate = random.chance(moment.share);
        let cost = moment.times * (Self::SPREAD * random.normal() - Self::SPREAD * Self::SPREAD / 2.0).exp();
        Of { candidate, seen: if candidate { cost + self.0.of(truth) } else { cost } }
    }

    fn of_candidate(seen: Of<f64>) -> bool {
        seen.candidate
    }

    fn lean(seen: Of<f64>, share: f64) -> f64 {
        seen.lean(seen.seen, share)
    }
}

/// Outcomes with their chances; what is missing to 1 adds nothing to a ratio. As traffic moves, there are more of all.
pub(crate) type Chances<T> = Vec<(f64, T)>;

fn draw_of<T: Copy>(chances: &Chances<T>, random: &mut Random, times: f64) -> Option<T> {
    let mut place = random.uniform();
    chances.iter().find_map(|(chance, outcome)| {
        place -= chance * times;
        (place < 0.0).then_some(*outcome)
    })
}

/// Parts of a ratio on the same inputs: live's, the candidate's.
pub(crate) struct PartPairs(pub(crate) Cases<Chances<(Part, Part)>>);

impl Stream for PartPairs {
    type Seen = (Part, Part);

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> (Part, Part) {
        draw_of(self.0.of(truth), random, moment.times).unwrap_or_default()
    }
}

/// Parts of a ratio in two arms.
pub(crate) struct ArmParts {
    pub(crate) live: Chances<Part>,
    pub(crate) candidate: Cases<Chances<Part>>,
}

impl Stream for ArmParts {
    type Seen = Of<Part>;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> Of<Part> {
        let candidate = random.chance(moment.share);
        let chances = if candidate { self.candidate.of(truth) } else { &self.live };
        Of { candidate, seen: draw_of(chances, random, moment.times).unwrap_or_default() }
    }

    fn of_candidate(seen: Of<Part>) -> bool {
        seen.candidate
    }

    fn lean(seen: Of<Part>, share: f64) -> f64 {
        seen.lean(f64::from(u8::from(seen.seen == part(1, 1))), share)
    }
}

/// How the candidate's latencies differ from live's, which are log-normal around 1 with a spread of 0.5.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slowness {
    Alike,
    /// All of them are so many times as long.
    All(f64),
    /// So large a share is so many times as long.
    Some(f64, f64),
}

/// Latencies in two arms. As load moves, both take longer.
pub(crate) struct Latencies(pub(crate) Cases<Slowness>);

impl Latencies {
    pub(crate) const SPREAD: f64 = 0.5;
}

impl Stream for Latencies {
    type Seen = Of<f64>;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> Of<f64> {
        let candidate = random.chance(moment.share);
        let latency = (Self::SPREAD * random.normal()).exp() * (1.0 + (moment.times - 1.0) / 4.0);
        let times = match (candidate, *self.0.of(truth)) {
            (true, Slowness::All(times)) => times,
            (true, Slowness::Some(share, times)) if random.chance(share) => times,
            _ => 1.0,
        };
        Of { candidate, seen: latency * times }
    }

    fn of_candidate(seen: Of<f64>) -> bool {
        seen.candidate
    }

    fn lean(seen: Of<f64>, share: f64) -> f64 {
        seen.lean(seen.seen, share)
    }
}

/// Units of two arms of which some of the candidate's are lost on the way.
pub(crate) struct Arrivals {
    pub(crate) lost: f64,
}

impl Stream for Arrivals {
    type Seen = Of<()>;

    fn draw(&self, random: &mut Random, moment: &Moment, truth: Truth) -> Of<()> {
        let lost = if matches!(truth, Truth::Holding(_)) { self.lost } else { 0.0 };
        loop {
            let candidate = random.chance(moment.share);
            if !(candidate && random.chance(lost)) {
                return Of { candidate, seen: () };
            }
        }
    }

    fn of_candidate(seen: Of<()>) -> bool {
        seen.candidate
    }

    fn lean(seen: Of<()>, share: f64) -> f64 {
        if seen.candidate { 1.0 - share } else { -share }
    }
}

/// A request of a user who stays with one version. Users differ in how often they come (Zipf) and in how often they meet
/// an error (log-normal around the rate).
pub(crate) struct Users {
    /// How much of all traffic the users up to each make.
    up_to: Vec<f64>,
    rate: f64,
}

/// What came of a request, and whose it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) user: usize,
    pub(crate) of: Of<Event>,
}

impl Users {
    pub(crate) fn new(count: usize, rate: f64) -> Self {
        let weights = || (1..=count).map(|rank| 1.0 / rank as f64);
        let all: f64 = weights().sum();
        let up_to = weights().scan(0.0, |sum, weight| {
            *sum += weight / all;
            Some(*sum)
        });
        Self { up_to: up_to.collect(), rate }
    }
}

impl Stream for Users {
    type Seen = Visit;

    fn draw(&self, random: &mut Random, moment: &Moment, _: Truth) -> Visit {
        let place = random.uniform();
        let user = self.up_to.partition_point(|up_to| *up_to < place).min(self.up_to.len() - 1);
        let mut own = Random::of(&[moment.salt, user as u64]);
        let candidate = own.chance(moment.share);
        let rate = self.rate * (own.normal() - 0.5).exp();
        let of = Of { candidate, seen: Event { bad: random.chance(rate), chance: random.next() } };
        Visit { user, of }
    }
}

/// What one unit adds.
pub(crate) fn part(part: u8, whole: u8) -> Part {
    Part::of(part, whole).unwrap_or_default()
}
