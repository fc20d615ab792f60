//! Where on Earth a device's clock stands, and which moment it therefore means.
//!
//! Owns what is not written in a message: the zone of a time without one, the hour that comes twice
//! or never, the year. Knows nothing of how times are written.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::time::{self, Civil};

/// In seconds, and rather less than half: nothing of another year can be nearer than that.
const HALF_A_YEAR: u64 = 182 * 86_400;

/// Turns what a clock shows into moments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock<'a> {
    received_at: Timestamp,
    /// `None` is UTC, which needs no table.
    zone: Option<&'a TimeZone>,
}

impl<'a> Clock<'a> {
    /// `zone` holds for times that name none.
    pub fn new(received_at: Timestamp, zone: &'a TimeZone) -> Self {
        Self {
            received_at,
            zone: (*zone != TimeZone::UTC).then_some(zone),
        }
    }

    /// When the message came.
    pub fn received_at(self) -> Timestamp {
        self.received_at
    }

    /// Whether the sender's zone is another than UTC.
    pub fn has_zone(self) -> bool {
        self.zone.is_some()
    }

    /// The moment meant by `civil`, whose zone is `offset` seconds ahead of UTC where it is known.
    /// `None` where the calendar has no such day.
    pub fn moment(self, civil: &Civil, offset: Option<i64>) -> Option<Timestamp> {
        match (offset, self.zone) {
            (Some(offset), _) => civil.at_offset(offset),
            (None, None) => civil.at_offset(0),
            (None, Some(zone)) => self.in_zone(civil, zone),
        }
    }

    /// As [`moment`](Self::moment), for a time without a year: the year that brings it nearest to
    /// the receipt.
    pub fn nearest_year(self, civil: &Civil, offset: Option<i64>) -> Option<Timestamp> {
        let now = time::year_of(self.received_at);
        let at = |year| self.moment(&Civil { year, ..*civil }, offset);
        let this_year = at(now);
        if this_year.is_some_and(|moment| self.distance(moment) < HALF_A_YEAR) {
            return this_year;
        }
        [this_year, at(now - 1), at(now + 1)]
            .into_iter()
            .flatten()
            .min_by_key(|moment| self.distance(*moment))
    }

    /// How far from the receipt, in seconds.
    pub fn distance(self, moment: Timestamp) -> u64 {
        let second = self.received_at.as_second();
        moment.as_second().abs_diff(second)
    }

    fn in_zone(self, civil: &Civil, zone: &TimeZone) -> Option<Timestamp> {
        // Refuses what is no day, and cuts a leap second.
        let as_utc = civil.at_offset(0)?;
        let shown: DateTime = Offset::UTC.to_datetime(as_utc);
        let at = |offset: Offset| offset.to_timestamp(shown).ok();
        match zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset),
            // The clock was not put forward yet: it still shows the time of before.
            AmbiguousOffset::Gap { before, .. } => at(before),
            // An hour that comes twice: a message comes soon after it was written.
            AmbiguousOffset::Fold { before, after } => [at(before), at(after)]
                .into_iter()
                .flatten()
                .min_by_key(|moment| self.distance(*moment)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(zone: &str, shown: &str, received: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let clock = Clock::new(received.parse().unwrap(), &zone);
        let (civil, offset, _) = time::read_civil(shown.as_bytes()).unwrap();
        clock.moment(&civil, offset).unwrap().to_string()
    }

    #[test]
    fn times_mean_what_the_clock_on_the_wall_shows() {
        for (zone, shown, received, expected) in [
            (
                "UTC",
                "2026-07-01T12:00:00",
                "2026-07-01T12:00:00Z",
                "2026-07-01T12:00:00Z",
            ),
            (
                "Etc/UTC",
                "2026-07-01T12:00:00",
                "2026-07-01T12:00:00Z",
                "2026-07-01T12:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-07-01T12:00:00",
                "2026-07-01T12:00:00Z",
                "2026-07-01T10:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-12-01T12:00:00.25",
                "2026-12-01T12:00:00Z",
                "2026-12-01T11:00:00.25Z",
            ),
            (
                "Europe/Berlin",
                "2026-07-01T12:00:00Z",
                "2026-07-01T12:00:00Z",
                "2026-07-01T12:00:00Z",
            ),
            (
                "Asia/Kolkata",
                "2026-07-01T23:59:60",
                "2026-07-01T18:30:00Z",
                "2026-07-01T18:29:59Z",
            ),
            // 02:30 does not exist on the day clocks go forward.
            (
                "Europe/Berlin",
                "2026-03-29T02:30:00",
                "2026-03-29T01:30:01Z",
                "2026-03-29T01:30:00Z",
            ),
            // 02:30 exists twice on the day they go back: whichever is nearer to the receipt.
            (
                "Europe/Berlin",
                "2026-10-25T02:30:00",
                "2026-10-25T00:30:01Z",
                "2026-10-25T00:30:00Z",
            ),
            (
                "Europe/Berlin",
                "2026-10-25T02:30:00",
                "2026-10-25T01:30:01Z",
                "2026-10-25T01:30:00Z",
            ),
        ] {
            assert_eq!(moment(zone, shown, received), expected, "{shown} in {zone}");
        }
    }

    #[test]
    fn the_year_is_the_nearest_one_where_the_clock_stands() {
        let zone = TimeZone::get("Pacific/Auckland").unwrap();
        // In Auckland it is 2027 already.
        let clock = Clock::new("2026-12-31T11:30:00Z".parse().unwrap(), &zone);
        let (civil, ..) = time::read_civil(b"2000-01-01T00:29:00").unwrap();
        let moment = clock.nearest_year(&civil, None).unwrap();
        assert_eq!(moment.to_string(), "2026-12-31T11:29:00Z");
    }
}
