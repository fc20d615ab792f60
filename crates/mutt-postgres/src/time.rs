//! Points in time as PostgreSQL keeps them: whole microseconds, in a range of its own.

use std::error::Error;

use bytes::{BufMut as _, BytesMut};
use jiff::Timestamp;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH: i64 = 946_684_800_000_000;
/// The first microsecond that PostgreSQL knows (24 November 4714 BC), counted from 2000.
const FIRST: i64 = -211_813_488_000_000_000;

/// A timestamp as a column of type `timestamptz` holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Micros(pub(crate) Timestamp);

/// Microseconds since 2000; times before PostgreSQL's first become that.
pub(crate) fn encoded(time: Timestamp) -> i64 {
    (time.as_microsecond() - EPOCH).max(FIRST)
}

/// The time for microseconds since 2000; what lies beyond the range of [`Timestamp`], the infinite
/// included, becomes its end.
fn decoded(micros: i64) -> Timestamp {
    let end = if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    micros
        .checked_add(EPOCH)
        .and_then(|micros| Timestamp::from_microsecond(micros).ok())
        .unwrap_or(end)
}

/// Now, as exactly as a column holds it.
pub(crate) fn now() -> Timestamp {
    decoded(encoded(Timestamp::now()))
}

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(decoded(i64::from_be_bytes(raw.try_into()?))))
    }

    accepts!(TIMESTAMPTZ);
}

impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(encoded(self.0));
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_place() {
        let time = Timestamp::from_microsecond(1_700_000_000_123_456).unwrap();
        assert_eq!(decoded(encoded(time)), time);
        assert_eq!(encoded(Timestamp::MIN), FIRST);
        assert_eq!(
            decoded(encoded(Timestamp::MAX)).as_microsecond(),
            Timestamp::MAX.as_microsecond()
        );
        assert_eq!(decoded(i64::MAX), Timestamp::MAX);
        assert_eq!(decoded(i64::MIN), Timestamp::MIN);
    }
}
