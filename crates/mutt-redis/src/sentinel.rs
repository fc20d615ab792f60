//! Who is the primary: the Sentinels' majority, asked over connections that are kept.
//!
//! Promises only what the Sentinels say; whoever connects to the answer has to check that it is a
//! primary. A Sentinel that was cut off and tells old news is outvoted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::FromRedisValue;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::dial::{Peer, Target, Wire};
use crate::error::meaning;
use crate::options::RedisOptions;

/// How long a connected Sentinel may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

pub(crate) struct Sentinels {
    options: Arc<RedisOptions>,
    master: String,
    members: Vec<Member>,
}

struct Member {
    target: Target,
    wire: Mutex<Option<Wire>>,
}

impl Sentinels {
    /// `None` where the options name none.
    ///
    /// # Errors
    /// Which address is not `host:port`.
    pub(crate) fn new(options: &Arc<RedisOptions>) -> Result<Option<Self>, String> {
        let Some(sentinel) = &options.sentinel else {
            return Ok(None);
        };
        if sentinel.addresses.is_empty() || sentinel.master.is_empty() {
            return Err(
                "Sentinel: at least one address and the name of the primary are needed".to_owned(),
            );
        }
        let member = |address: &String| {
            let target = Target::parse(address)
                .ok_or_else(|| format!("Sentinel address `{address}` is not host:port"))?;
            Ok(Member {
                target,
                wire: Mutex::new(None),
            })
        };
        Ok(Some(Self {
            options: Arc::clone(options),
            master: sentinel.master.clone(),
            members: sentinel
                .addresses
                .iter()
                .map(member)
                .collect::<Result<_, String>>()?,
        }))
    }

    /// What the Sentinels take for the primary, most votes first. Returns as soon as a majority of
    /// those configured agrees.
    ///
    /// # Errors
    /// What each of them said where none named a primary.
    pub(crate) async fn primary(&self) -> Result<Vec<Target>, String> {
        let mut answers: FuturesUnordered<_> =
            self.members.iter().map(|member| self.ask(member)).collect();
        let mut votes: HashMap<(String, u16), usize> = HashMap::new();
        let mut failures = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(target) => {
                    let count = votes.entry((target.host, target.port)).or_default();
                    *count += 1;
                    if *count * 2 > self.members.len() {
                        break;
                    }
                }
                Err(failure) => failures.push(failure),
            }
        }
        if votes.is_empty() {
            return Err(format!(
                "no Sentinel names a primary `{}`: {}",
                self.master,
                failures.join("; ")
            ));
        }
        let mut votes: Vec<_> = votes.into_iter().collect();
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(votes
            .into_iter()
            .map(|((host, port), _)| Target::new(host, port))
            .collect())
    }

    async fn ask(&self, member: &Member) -> Result<Target, String> {
        let mut wire = member.wire.lock().await;
        // A kept connection may have died unseen: then once more over a new one.
        if let Some(kept) = &*wire
            && let Ok(answer) = self.ask_over(kept).await
        {
            return answer.map_err(|reason| format!("{}: {reason}", member.target));
        }
        *wire = None;
        let asked = async {
            let new = Wire::open(&self.options, &member.target, None, Peer::Sentinel, None).await?;
            let answer = self.ask_over(&new).await?;
            *wire = Some(new);
            answer
        };
        asked
            .await
            .map_err(|reason| format!("{}: {reason}", member.target))
    }

    /// The outer error is one of the connection, the inner one the Sentinel's answer.
    async fn ask_over(&self, wire: &Wire) -> Result<Result<Target, String>, String> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(&self.master);
        let mut connection = wire.connection();
        let answer = timeout(ANSWER, connection.send_packed_command(&command))
            .await
            .map_err(|_| format!("no answer within {ANSWER:?}"))?
            .and_then(redis::Value::extract_error)
            .map_err(|error| meaning(error).1)?;
        let named = Option::<(String, u16)>::from_redis_value(answer)
            .map_err(|_| "this is not a Sentinel".to_owned())?;
        Ok(match named {
            Some((host, port)) => Ok(Target::new(host, port)),
            None => Err(format!("it knows no primary `{}`", self.master)),
        })
    }
}
