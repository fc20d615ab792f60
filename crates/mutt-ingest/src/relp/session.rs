//! One RELP session over any stream: frames in, events into the queue, responses out.
//!
//! Batches form by nature: what arrives while one batch commits is the next one. One is under way at
//! a time, so that a session's events keep their order and its responses that of the transactions.
//! While the engine refuses, frames are kept, nothing is acknowledged and, once a batch has formed
//! behind the one that waits, the stream is not read. Does not know where the stream comes from.

use std::future::{pending, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use crate::admission::Admission;
use crate::metrics::Listener;
use crate::pump::{Delivery, LAST_ANSWER, Overflow};
use crate::syslog_lines::SyslogLines;

/// How long a batch waits for the rest of its sender's window.
///
/// A sender's throughput is its window per commit. If what came in during one commit (the rest of
/// the window) went alone at once, the window would be in two halves for ever, each in a commit of
/// its own; so it waits for the half that was just acknowledged to come again. Only where a commit
/// takes longer than this: where commits are faster, two halves keep both sides busy.
const LINGER: Duration = Duration::from_millis(1);

/// How long the sender may take to read the last responses before the connection is closed over
/// them.
const FAREWELL: Duration = Duration::from_millis(500);

/// What all sessions of a listener have in common.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) admission: Admission,
    pub(super) lines: SyslogLines,
    /// Of a longer message only so many bytes are kept.
    pub(super) max_line: usize,
    /// How long frames that were read may take to become durable after the order to stop, or after
    /// their sender ended the stream.
    pub(super) grace: Duration,
}

/// Serves one session until its sender ends it, it breaks, or `stop` is cancelled; then finishes what
/// was read. `batch_bytes` is asked before each batch and bounds it.
///
/// # Errors
/// The stream broke.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: &mut S,
    peer: IpAddr,
    terms: &Terms,
    batch_bytes: impl Fn() -> usize + Send,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut session = Session {
        inbox: Inbox::new(peer, terms, batch_bytes()),
        flushed: true,
        reading: true,
        goodbye: false,
        give_up: CancellationToken::new(),
        give_up_at: None,
        leave_at: None,
        pace: Pace::default(),
        batch_bytes,
        terms,
    };
    let result = session.run(stream, stop).await;
    session.inbox.count_rest();
    result?;
    farewell(stream).await;
    Ok(())
}

/// Lets the sender read the last responses: a connection that is closed with something unread in it
/// is reset, which can take them away.
async fn farewell<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let rest = async {
        stream.shutdown().await?;
        let mut nowhere = [0; 4096];
        while stream.read(&mut nowhere).await? > 0 {}
        io::Result::Ok(())
    };
    // However this ends: what the sender has not read it sends again.
    let _ = timeout(FAREWELL, rest).await;
}

struct Session<'a, B> {
    inbox: Inbox<'a>,
    /// Whether everything that was written went out of this process.
    flushed: bool,
    /// Whether anything more may come.
    reading: bool,
    /// Whether the end was announced.
    goodbye: bool,
    give_up: CancellationToken,
    /// When what is refused is no longer offered.
    give_up_at: Option<Instant>,
    /// When neither the engine nor the sender is waited for any longer.
    leave_at: Option<Instant>,
    pace: Pace,
    batch_bytes: B,
    terms: &'a Terms,
}

/// What happened next.
enum Event {
    /// The delivery got on.
    Advanced(Delivery, Option<usize>),
    Moved(io::Result<Moved>),
    Time,
    Stop,
}

/// What the stream did.
enum Moved {
    Read,
    End,
    Written,
}

/// The batch that is under way.
struct UnderWay {
    events: usize,
    delivery: Pin<Box<dyn Future<Output = (Delivery, Option<usize>)> + Send>>,
}

impl UnderWay {
    fn new(mut delivery: Delivery) -> Self {
        Self {
            events: delivery.left(),
            delivery: Box::pin(async move {
                let durable = delivery.advance().await;
                (delivery, durable)
            }),
        }
    }
}

/// What became of the batch that is under way; never, where there is none. Can be cancelled without
/// harm.
async fn settled(under_way: &mut Option<UnderWay>) -> (Delivery, Option<usize>) {
    match under_way {
        Some(batch) => batch.delivery.as_mut().await,
        None => pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

impl<B: Fn() -> usize> Session<'_, B> {
    /// # Errors
    /// The stream broke; nobody can be told anything any more.
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let mut stopped = pin!(stop.cancelled());
        let mut under_way: Option<UnderWay> = None;
        let mut broke: Option<io::Error> = None;
        loop {
            let hungry = self.inbox.take_frames();
            if under_way.is_none() && self.is_due(hungry) {
                under_way = Some(UnderWay::new(self.next_batch()));
            }
            if under_way.is_none() && self.has_ended(hungry) {
                let answers = &mut self.inbox.answers;
                if let Some(error) = broke {
                    return Err(error);
                }
                if !self.goodbye {
                    self.goodbye = true;
                    answers.say_goodbye();
                }
                if answers.out().is_empty() && self.flushed {
                    return Ok(());
                }
            }
            let forms = under_way.is_none() && self.inbox.forming.len() > 0;
            let linger = self.pace.until.filter(|_| forms);
            let times = [self.give_up_at, self.leave_at, linger];
            let next_time = times.into_iter().flatten().min();
            let read = self.reading && hungry;
            let event = tokio::select! {
                biased;
                (delivery, durable) = settled(&mut under_way) => Event::Advanced(delivery, durable),
                moved = poll_fn(|cx| self.poll_stream(stream, cx, read)), if broke.is_none() => {
                    Event::Moved(moved)
                }
                () = at(next_time) => Event::Time,
                () = &mut stopped, if self.reading => Event::Stop,
            };
            match event {
                Event::Advanced(delivery, Some(durable)) => {
                    self.inbox.answers.stored(durable);
                    under_way = None;
                    if delivery.left() > 0 {
                        under_way = Some(UnderWay::new(delivery));
                    } else {
                        self.pace.end(durable + self.inbox.forming.len());
                    }
                }
                Event::Advanced(_, None) => {
                    under_way = None;
                    self.inbox.abandon();
                }
                Event::Moved(Ok(Moved::Read | Moved::Written)) => {}
                Event::Moved(Ok(Moved::End)) => {
                    self.inbox.ended = true;
                    self.read_no_more();
                }
                Event::Moved(Err(error)) => {
                    // The sender will send again what was not acknowledged. What the engine takes
                    // at once is stored all the same, in case that the sender is gone for good.
                    broke = Some(error);
                    self.inbox.ended = true;
                    self.inbox.answers.mute();
                    self.give_up.cancel();
                    self.read_no_more();
                }
                Event::Stop => self.read_no_more(),
                Event::Time => {
                    let now = Instant::now();
                    if self.give_up_at.is_some_and(|at| at <= now) {
                        self.give_up_at = None;
                        self.give_up.cancel();
                    }
                    if self.leave_at.is_some_and(|at| at <= now) {
                        let lost = under_way.map_or(0, |batch| batch.events);
                        self.inbox.count_lost(lost + self.inbox.forming.len());
                        return broke.map_or(Ok(()), Err);
                    }
                }
            }
        }
    }

    /// Whether what has formed should go now. `hungry`: all that was read is in it.
    fn is_due(&mut self, hungry: bool) -> bool {
        let events = self.inbox.forming.len();
        if events == 0 {
            return false;
        }
        let more_may_come = self.reading && !self.inbox.over && hungry;
        !more_may_come || self.inbox.forming.is_full() || self.pace.is_over(events)
    }

    fn next_batch(&mut self) -> Delivery {
        self.pace.begin();
        let batch_bytes = (self.batch_bytes)();
        Delivery::new(
            self.terms.admission.clone(),
            Listener::Relp,
            Overflow::Backpressure,
            self.inbox.forming.take_and_limit(batch_bytes),
            self.give_up.clone(),
        )
    }

    /// Whether all that was read is settled and nothing more will be.
    fn has_ended(&self, hungry: bool) -> bool {
        (!self.reading || self.inbox.over)
            && hungry
            && self.inbox.forming.len() == 0
            && self.inbox.answers.is_settled()
    }

    fn read_no_more(&mut self) {
        let grace_over = Instant::now() + self.terms.grace;
        self.reading = false;
        self.give_up_at = Some(grace_over);
        self.leave_at = Some(grace_over + LAST_ANSWER);
    }

    /// Writes what can be said and, if `read`, reads once.
    fn poll_stream<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        read: bool,
    ) -> Poll<io::Result<Moved>> {
        let mut written = false;
        let answers = &mut self.inbox.answers;
        while !answers.out().is_empty() {
            match Pin::new(&mut *stream).poll_write(context, answers.out())? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(bytes) => answers.sent(bytes),
                Poll::Pending => break,
            }
            self.flushed = false;
            written = true;
        }
        if answers.out().is_empty()
            && !self.flushed
            && Pin::new(&mut *stream).poll_flush(context)?.is_ready()
        {
            self.flushed = true;
            written = true;
        }
        if read && let Poll::Ready(bytes) = self.inbox.poll_read(stream, context)? {
            let moved = if bytes == 0 { Moved::End } else { Moved::Read };
            return Poll::Ready(Ok(moved));
        }
        if written {
            Poll::Ready(Ok(Moved::Written))
        } else {
            Poll::Pending
        }
    }
}

/// When a batch that is not full goes: see [`LINGER`].
#[derive(Debug, Default)]
struct Pace {
    /// Messages that were on their way together when the last commit ended.
    window: usize,
    /// When the commit that is under way began.
    begun: Option<Instant>,
    /// How long the last one took.
    took: Duration,
    /// When what has formed goes, full or not.
    until: Option<Instant>,
}

impl Pace {
    fn begin(&mut self) {
        self.begun = Some(Instant::now());
        self.until = None;
    }

    fn end(&mut self, window: usize) {
        self.window = window;
        self.took = self.begun.take().map_or(Duration::ZERO, |at| at.elapsed());
    }

    /// Whether so many events have waited long enough.
    fn is_over(&mut self, events: usize) -> bool {
        if self.took < LINGER || events >= self.window {
            return true;
        }
        let now = Instant::now();
        *self.until.get_or_insert(now + LINGER) <= now
    }
}
