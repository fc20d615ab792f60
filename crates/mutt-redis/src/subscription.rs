//! Pub/sub over a connection of its own.
//!
//! Redis delivers to whoever is connected and keeps nothing: after each (re)subscription the
//! receivers are told so, and have to look at what they may have missed.

use std::sync::Arc;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::backoff::Backoff;
use crate::dial::{OnPush, Peer, Wire};
use crate::error::meaning;
use crate::keeper::Shared;
use crate::link::Link;

/// Messages a receiver may be behind.
const CAPACITY: usize = 1024;

/// What a subscription tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Somebody published.
    Published {
        /// On which channel.
        channel: String,
        /// What.
        payload: Vec<u8>,
    },
    /// The subscription holds from here on; messages before may have been missed.
    Subscribed,
}

pub(crate) fn start(shared: &Arc<Shared>, channels: &[&str]) -> broadcast::Receiver<Message> {
    let (sender, receiver) = broadcast::channel(CAPACITY);
    let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::select! {
            () = shared.closed.cancelled() => {}
            () = sender.closed() => {}
            () = listen_for_ever(&shared, &channels, &sender) => {}
        }
    });
    receiver
}

async fn listen_for_ever(
    shared: &Shared,
    channels: &[String],
    sender: &broadcast::Sender<Message>,
) {
    let mut links = shared.link.subscribe();
    let mut backoff = Backoff::new();
    loop {
        // The keeper finds the primary; where it cannot, neither can this.
        let Ok(link) = links
            .wait_for(Option::is_some)
            .await
            .map(|link| link.clone())
        else {
            return;
        };
        let Some(link) = link else { continue };
        let why = match Subscription::open(shared, &link, channels, sender).await {
            Ok(subscription) => {
                backoff = Backoff::new();
                let _ = sender.send(Message::Subscribed);
                subscription.hold(shared, &link).await
            }
            Err(why) => why,
        };
        debug!(
            address = link.address,
            reason = why,
            "Redis: subscription lost"
        );
        sleep(backoff.next()).await;
    }
}

struct Subscription(Wire);

impl Subscription {
    async fn open(
        shared: &Shared,
        link: &Link,
        channels: &[String],
        sender: &broadcast::Sender<Message>,
    ) -> Result<Self, String> {
        let options = &shared.options;
        let sender = sender.clone();
        let forward: OnPush = Box::new(move |push| {
            if let Some(message) = published(push) {
                let _ = sender.send(message);
            }
        });
        let wire = Wire::open(
            options,
            &link.target,
            Some(link.peer),
            Peer::Server,
            Some(forward),
        )
        .await?;
        let mut connection = wire.connection();
        timeout(options.response_timeout, connection.subscribe(channels))
            .await
            .map_err(|_| "no answer to SUBSCRIBE".to_owned())?
            .map_err(|error| meaning(error).1)?;
        Ok(Self(wire))
    }

    /// Returns why it does not hold any more.
    async fn hold(self, shared: &Shared, link: &Arc<Link>) -> String {
        let mut links = shared.link.subscribe();
        let elsewhere = links.wait_for(|new| {
            new.as_ref()
                .is_some_and(|new| new.peer != link.peer || new.run_id != link.run_id)
        });
        tokio::select! {
            () = self.0.ended() => "closed by the server".to_owned(),
            _ = elsewhere => "the primary is another one now".to_owned(),
            why = self.probe_for_ever(shared) => why,
        }
    }

    /// A silent channel and a cut network look the same without questions.
    async fn probe_for_ever(&self, shared: &Shared) -> String {
        let limit = shared.options.response_timeout;
        loop {
            sleep(limit / 2).await;
            let mut connection = self.0.connection();
            let ping = redis::cmd("PING");
            match timeout(limit, connection.send_packed_command(&ping)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return meaning(error).1,
                Err(_) => return "no answer to PING".to_owned(),
            }
        }
    }
}

fn published(push: PushInfo) -> Option<Message> {
    if push.kind != PushKind::Message {
        return None;
    }
    let mut data = push.data.into_iter();
    match (data.next()?, data.next()?) {
        (Value::BulkString(channel), Value::BulkString(payload)) => Some(Message::Published {
            channel: String::from_utf8_lossy(&channel).into_owned(),
            payload,
        }),
        _ => None,
    }
}
