//! A request's body as the server hands it out: it knows its connection, and gives up on a sender
//! that does not send.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::connection::Connection;

/// What [`RequestBody::read`] reserves at most on the mere word of the sender, in bytes.
const TRUSTED: u64 = 256 * 1024;

/// What a request may hold without booking it, and the step of booking, in bytes.
const FREE: usize = 64 * 1024;

/// Why a body cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than allowed: 413.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The most that is allowed, in bytes.
        limit: usize,
    },
    /// The sender is too slow: 408.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// Bodies under way hold all the memory that they may: 503, for a moment.
    #[error("too many large requests at once")]
    Crowded,
    /// The sender went away, or what it sent is no HTTP.
    #[error("the body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// The memory that all bodies under way may hold together. Small bodies cost nothing: their number
/// is limited by that of connections.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

impl Budget {
    /// At most `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(bytes)),
        }
    }

    /// An account for one request, on which nothing is booked yet.
    pub fn hold(&self) -> Held {
        Held {
            budget: self.clone(),
            booked: 0,
        }
    }
}

/// What one request holds of a [`Budget`]; given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    booked: usize,
}

impl Held {
    /// Books for a request that now holds `bytes` bytes in all.
    ///
    /// # Errors
    /// `Crowded` where that is more than is left; nothing is booked then.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), BodyError> {
        // In steps, so that a body that grows piece by piece books a few times only.
        let wanted = bytes.saturating_sub(FREE).next_multiple_of(FREE);
        let more = wanted.saturating_sub(self.booked);
        if more > 0 {
            self.budget
                .left
                .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(more))
                .map_err(|_| BodyError::Crowded)?;
            self.booked = wanted;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.booked > 0 {
            self.budget.left.fetch_add(self.booked, Relaxed);
        }
    }
}

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    connection: Arc<Connection>,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, connection: Arc<Connection>) -> Self {
        Self {
            incoming,
            connection,
        }
    }

    /// The connection that the request came over.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The length that the sender declared, in bytes; `None` for a body in chunks.
    pub fn declared_len(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Reads the whole body, at most `limit` bytes of it; what it needs is booked on `held`. What
    /// came in one piece is not copied.
    ///
    /// # Errors
    /// [`BodyError`]; a body whose declared length is over the limit is not even begun.
    pub async fn read(mut self, limit: usize, held: &mut Held) -> Result<Bytes, BodyError> {
        let declared = self.declared_len().unwrap_or(0);
        if declared > limit as u64 {
            return Err(BodyError::TooLarge { limit });
        }
        let Some(first) = self.next_data().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if self.incoming.is_end_stream() {
            return Ok(first);
        }
        let reserved = usize::try_from(declared.min(TRUSTED))
            .unwrap_or(0)
            .max(first.len());
        let mut whole = BytesMut::with_capacity(reserved);
        whole.extend_from_slice(&first);
        while let Some(piece) = self.next_data().await? {
            if piece.len() > limit - whole.len() {
                return Err(BodyError::TooLarge { limit });
            }
            held.grow_to(whole.len() + piece.len())?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The next piece of data; trailers are passed over.
    ///
    /// # Errors
    /// `TimedOut`, `Broken`.
    pub async fn next_data(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.connection.is_body_given_up() {
            return Poll::Ready(Some(Err(BodyError::TimedOut)));
        }
        let polled = Pin::new(&mut this.incoming).poll_frame(cx);
        match &polled {
            Poll::Pending => this.connection.body_awaited(),
            Poll::Ready(Some(Ok(frame))) => {
                this.connection
                    .body_came(frame.data_ref().map_or(0, Bytes::len));
            }
            Poll::Ready(_) => this.connection.body_came(0),
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back_and_small_bodies_are_free() {
        let budget = Budget::new(4 * FREE);
        let mut first = budget.hold();
        first.grow_to(3 * FREE).unwrap();
        first.grow_to(FREE).unwrap();
        let mut second = budget.hold();
        second.grow_to(FREE).unwrap();
        second.grow_to(3 * FREE).unwrap();
        assert!(matches!(
            second.grow_to(3 * FREE + 1),
            Err(BodyError::Crowded)
        ));
        assert!(matches!(
            budget.hold().grow_to(2 * FREE),
            Err(BodyError::Crowded)
        ));
        drop(first);
        second.grow_to(5 * FREE).unwrap();
    }
}
