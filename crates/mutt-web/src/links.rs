//! Login links: a token that signs a browser in once, within half an hour, in the process that made
//! it. The program prints one for the person who started it, and an administrator may ask for one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::access::hex;

/// How long a login link is valid.
pub const LINK_VALID: Duration = Duration::from_mins(30);
/// The most links that are valid at a time: one more ends the oldest.
const MOST: usize = 16;

/// The login links of this process.
#[derive(Clone, Debug, Default)]
pub struct LoginLinks {
    valid: Arc<Mutex<Vec<Link>>>,
}

struct Link {
    hash: [u8; 32],
    bearer: Bearer,
    until: Instant,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Whose key a link stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// The key from the secrets that is valid when the link is used.
    First,
    /// The key with this SHA-256.
    Key { hash: [u8; 32] },
}

impl LoginLinks {
    /// A token that signs in once as the first administrator, valid for [`LINK_VALID`]. It belongs
    /// behind `/#/login/` in an address: what is behind `#` is sent to no server and logged by none.
    pub fn issue(&self) -> String {
        self.issue_for(Bearer::First, Instant::now())
    }

    pub(crate) fn issue_for(&self, bearer: Bearer, now: Instant) -> String {
        let token = hex(&rand::random::<[u8; 16]>());
        let mut valid = self.valid.lock();
        valid.retain(|link| link.until > now);
        if valid.len() >= MOST {
            valid.remove(0);
        }
        valid.push(Link {
            hash: Sha256::digest(token.as_bytes()).into(),
            bearer,
            until: now + LINK_VALID,
        });
        token
    }

    /// Whose key the token stands for; it is used up.
    pub(crate) fn redeem(&self, token: &str, now: Instant) -> Option<Bearer> {
        // Found by its hash: how long the search takes tells nothing of the token.
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut valid = self.valid.lock();
        let at = valid.iter().position(|link| link.hash == hash)?;
        let link = valid.remove(at);
        (link.until > now).then_some(link.bearer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_once_and_for_a_while() {
        let links = LoginLinks::default();
        let now = Instant::now();
        let token = links.issue();
        assert_eq!(links.redeem("", now), None);
        assert_eq!(links.redeem(&format!("{token} "), now), None);
        assert_eq!(links.redeem(&token, now), Some(Bearer::First));
        assert_eq!(links.redeem(&token, now), None);
        let late = links.issue_for(Bearer::First, now);
        assert_eq!(links.redeem(&late, now + LINK_VALID), None);
    }

    #[test]
    fn links_are_bounded() {
        let links = LoginLinks::default();
        let now = Instant::now();
        let first = links.issue();
        let others: Vec<_> = (0..MOST).map(|_| links.issue()).collect();
        assert_eq!(links.redeem(&first, now), None);
        assert!(
            others
                .iter()
                .all(|other| links.redeem(other, now).is_some())
        );
    }
}
