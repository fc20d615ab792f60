//! What a sample says of everything that it was taken from: a figure, the interval that holds the
//! truth 95 times of 100, and how exact it is. Knows nothing of events or rules.
//!
//! The strata are minutes. Within one, events were drawn with chances that do not depend on what
//! they say, and how many there were is known. Two intervals are made, and the wider end of each is
//! taken, because each fails where the other does not:
//! - Wilson's interval with the sample size that a simple sample would need to be as certain (Korn
//!   and Graubard 1998). A large stratum in which nothing was found seems certain to it.
//! - Wilson's interval of each stratum, added as Zou and Donner (2008) add intervals that are not
//!   symmetric. Its lower end is too high where hits are few in each of many strata.

use serde::Serialize;
use utoipa::ToSchema;

/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_964;

/// Below so many sampled hits an estimate says too little to be shown as a number.
const FEW: u64 = 20;

/// How exact a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    /// Every event was looked at.
    Exact,
    /// From a sample; `low` to `high` holds the truth 95 times of 100.
    Estimate,
    /// At least `value`; not everything could be looked at.
    LowerBound,
    /// From a sample with fewer than 20 hits: `value` is too uncertain to be shown, `high` is not.
    TooFew,
}

/// A number of events or alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Figure {
    /// The best guess, or the exact number.
    pub value: u64,
    /// The lower end of the 95 % interval.
    pub low: u64,
    /// The upper end of the 95 % interval; null where nothing bounds it.
    pub high: Option<u64>,
    /// How exact it is.
    pub exactness: Exactness,
}

impl Figure {
    pub fn exact(value: u64) -> Self {
        Self {
            value,
            low: value,
            high: Some(value),
            exactness: Exactness::Exact,
        }
    }

    pub fn at_least(value: u64) -> Self {
        Self {
            value,
            low: value,
            high: None,
            exactness: Exactness::LowerBound,
        }
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, factor: u64) -> Self {
        Self {
            value: self.value * factor,
            low: self.low * factor,
            high: self.high.map(|high| high * factor),
            ..self
        }
    }
}

/// What is known of one stratum before anything is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stratum {
    /// How many events there were.
    pub total: u64,
    /// How many are in the sample.
    sampled: u64,
    /// What their weights add up to: about `total`.
    weight: f64,
    /// Of Σ weight · (weight − 1): what not being sampled costs in certainty.
    spread: f64,
}

impl Stratum {
    pub fn new(total: u64) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// A sampled event that stands for `weight` (at least 1) events.
    pub fn add(&mut self, weight: f64) {
        self.sampled += 1;
        self.weight += weight;
        self.spread += weight * (weight - 1.0);
    }

    /// Whether every event is in the sample.
    pub fn is_whole(&self) -> bool {
        self.sampled >= self.total
    }

    /// So many draws with replacement would be as certain; infinite where all were drawn.
    fn draws(&self) -> f64 {
        if self.spread <= 0.0 {
            f64::INFINITY
        } else {
            self.weight * self.weight / self.spread
        }
    }
}

/// What was found in one stratum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hits {
    /// In the sample.
    pub sampled: u64,
    /// What their weights add up to.
    pub weight: f64,
    /// What the weights of events add up to of which nobody can say whether they hit.
    pub unknown: f64,
}

impl Hits {
    pub fn add(&mut self, weight: f64) {
        self.sampled += 1;
        self.weight += weight;
    }
}

/// The number of hits among everything. Both slices have the same strata.
pub fn figure(strata: &[Stratum], hits: &[Hits]) -> Figure {
    debug_assert_eq!(strata.len(), hits.len());
    let (mut value, mut below, mut above) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut certain, mut impossible, mut sampled) = (0_u64, 0_u64, 0_u64);
    let (mut unknown, mut whole, mut total) = (0.0, true, 0_u64);
    // Of the strata that are not whole: their size, the hits in them, the variance of those.
    let (mut size_all, mut open, mut variance) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (stratum, hits) in strata.iter().zip(hits) {
        total += stratum.total;
        sampled += hits.sampled;
        certain += hits.sampled;
        unknown += hits.unknown;
        if stratum.is_whole() {
            value += hits.sampled as f64;
            impossible += stratum.total.saturating_sub(hits.sampled);
            continue;
        }
        whole = false;
        impossible += stratum.sampled - hits.sampled;
        let size = stratum.total as f64;
        size_all += size;
        if stratum.sampled == 0 {
            // Nobody looked at any of them.
            above += size * size;
            continue;
        }
        let share = (hits.weight / stratum.weight).clamp(0.0, 1.0);
        let (low, high) = wilson(share, stratum.draws());
        value += size * share;
        open += size * share;
        variance += size * size * share * (1.0 - share) / stratum.draws();
        below += (size * (share - low)).powi(2);
        above += (size * (high - share)).powi(2);
    }
    if whole {
        let value = whole_number(value.round());
        return Figure {
            value,
            low: value,
            high: Some(value + whole_number(unknown.round())),
            exactness: if unknown > 0.0 {
                Exactness::LowerBound
            } else {
                Exactness::Exact
            },
        };
    }
    let (mut below, mut above) = (below.sqrt(), above.sqrt());
    if variance > 0.0 {
        let share = open / size_all;
        let draws = share * (1.0 - share) * size_all * size_all / variance;
        let (low, high) = wilson(share, draws);
        below = below.max(open - size_all * low);
        above = above.max(size_all * high - open);
    }
    let low = whole_number((value - below).floor());
    let high = whole_number((value + above + unknown).ceil());
    let value = whole_number(value.round());
    let most = (total - impossible).saturating_add(whole_number(unknown.ceil()));
    Figure {
        value: value.clamp(certain, most.max(certain)),
        low: low.max(certain),
        high: Some(high.clamp(certain, most.min(total).max(certain))),
        exactness: if sampled < FEW {
            Exactness::TooFew
        } else {
            Exactness::Estimate
        },
    }
}

/// A count of events: far below what a float can say exactly.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what lies outside becomes the nearest that fits"
)]
fn whole_number(count: f64) -> u64 {
    count as u64
}

/// Wilson's interval of a share that was seen in `draws` draws.
fn wilson(share: f64, draws: f64) -> (f64, f64) {
    if draws.is_infinite() {
        return (share, share);
    }
    let z2 = Z * Z;
    let middle = (share + z2 / (2.0 * draws)) / (1.0 + z2 / draws);
    let half = Z / (1.0 + z2 / draws)
        * (share * (1.0 - share) / draws + z2 / (4.0 * draws * draws)).sqrt();
    // Rounding may put an end on the wrong side of the share itself.
    (
        (middle - half).clamp(0.0, share),
        (middle + half).clamp(share, 1.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stratum(total: u64, sampled: u64) -> Stratum {
        let mut stratum = Stratum::new(total);
        for _ in 0..sampled {
            stratum.add(total as f64 / sampled as f64);
        }
        stratum
    }

    fn hits(sampled: u64, weight: f64) -> Hits {
        Hits {
            sampled,
            weight: weight * sampled as f64,
            unknown: 0.0,
        }
    }

    #[test]
    fn what_was_looked_at_whole_is_exact() {
        let figure = figure(
            &[stratum(10, 10), stratum(0, 0)],
            &[hits(3, 1.0), hits(0, 1.0)],
        );
        assert_eq!(figure, Figure::exact(3));
    }

    /// Against R: `prop.test(400, 2000, correct = FALSE)` gives 0.1830545 to 0.2181013; with 2,000
    /// of 200,000 drawn, 1 % of the variance goes.
    #[test]
    fn one_stratum_has_wilsons_interval() {
        let figure = figure(&[stratum(200_000, 2_000)], &[hits(400, 100.0)]);
        assert_eq!(
            (figure.value, figure.exactness),
            (40_000, Exactness::Estimate)
        );
        assert!((36_610..=36_720).contains(&figure.low), "{figure:?}");
        let high = figure.high.unwrap();
        assert!((43_510..=43_625).contains(&high), "{figure:?}");
    }

    #[test]
    fn few_hits_bound_what_there_may_be() {
        let figure = figure(&[stratum(100_000, 2_000)], &[hits(0, 50.0)]);
        assert_eq!(
            (figure.value, figure.low, figure.exactness),
            (0, 0, Exactness::TooFew)
        );
        // Wilson's bound for 0 of 2,000 is 3.84 / 2,003.84.
        assert!((180..=195).contains(&figure.high.unwrap()), "{figure:?}");
    }

    #[test]
    fn nothing_is_claimed_that_the_sample_excludes() {
        let none = figure(&[stratum(100, 90)], &[hits(90, 100.0 / 90.0)]);
        assert!(none.low >= 90 && none.high.unwrap() <= 100, "{none:?}");
        let blind = figure(&[stratum(50, 0)], &[hits(0, 1.0)]);
        assert_eq!((blind.value, blind.high), (0, Some(50)));
    }

    #[test]
    fn what_cannot_be_judged_widens() {
        let unknown = Hits {
            unknown: 2.0,
            ..hits(3, 1.0)
        };
        let figure = figure(&[stratum(10, 10)], &[unknown]);
        assert_eq!((figure.value, figure.high), (3, Some(5)));
        assert_eq!(figure.exactness, Exactness::LowerBound);
    }
}
