//! What the tests share: clients, load, and waiting for conditions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mutt_redis::{Redis, RedisError, RedisOptions, Script, State, redis};
use mutt_testbed::Redis as Server;
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Nothing takes this long, also on a loaded machine.
pub const LONG: Duration = Duration::from_mins(1);

/// Options for this server, with the password it has now.
pub fn options(server: &Server) -> RedisOptions {
    let mut options = RedisOptions::new(server.host(), server.port());
    if let Some(password) = server.password() {
        options.passwords = passwords(&[&password]).1;
    }
    options
}

/// Passwords that a test may change, and what gives them to a client.
pub fn passwords(first: &[&str]) -> (Arc<Mutex<Vec<String>>>, mutt_redis::Passwords) {
    let list: Vec<String> = first.iter().map(|&password| password.to_owned()).collect();
    let list = Arc::new(Mutex::new(list));
    let reader = Arc::clone(&list);
    let give = move || -> Vec<SecretString> {
        reader
            .lock()
            .iter()
            .map(|password| SecretString::from(password.clone()))
            .collect()
    };
    (list, Arc::new(give))
}

pub async fn connect(options: RedisOptions) -> Redis {
    let redis = Redis::open(options).unwrap();
    redis.ready(LONG).await.unwrap();
    redis
}

/// Waits until the condition holds.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(LONG, waiting).await.is_ok(), "never: {what}");
}

/// Waits until the state is one of those.
pub async fn until_state(redis: &Redis, wanted: impl FnMut(&State) -> bool) -> State {
    let mut state = redis.state();
    let found = timeout(LONG, state.wait_for(wanted)).await;
    found.expect("the state never came").unwrap().clone()
}

/// Waits for a failed try and says why it failed.
pub async fn failure(redis: &Redis) -> String {
    let is_failure = |state: &State| matches!(state, State::Connecting(Some(_)));
    match until_state(redis, is_failure).await {
        State::Connecting(Some(why)) => why,
        state => panic!("{state:?}"),
    }
}

pub fn run_id(redis: &Redis) -> String {
    match &*redis.state().borrow() {
        State::Connected { run_id, .. } => run_id.clone(),
        state => panic!("not connected: {state:?}"),
    }
}

pub fn incr(key: &str) -> redis::Cmd {
    let mut command = redis::cmd("INCR");
    command.arg(key);
    command
}

/// Callers that count in Redis as fast as they can, by a command, a script and a pipeline.
pub struct Load {
    acknowledged: Arc<AtomicU64>,
    errors: Arc<Mutex<Vec<RedisError>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Load {
    pub fn start(redis: &Redis, callers: usize) -> Self {
        let mut load = Self {
            acknowledged: Arc::default(),
            errors: Arc::default(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        };
        for caller in 0..callers {
            let redis = redis.clone();
            let acknowledged = Arc::clone(&load.acknowledged);
            let errors = Arc::clone(&load.errors);
            let stop = load.stop.clone();
            load.tasks.spawn(async move {
                let script = Script::new("return redis.call('INCR', KEYS[1])");
                while !stop.is_cancelled() {
                    let outcome = match caller % 3 {
                        0 => redis.call::<u64>(&incr("load")).await,
                        1 => redis.run::<u64>(&script, &script.call(&["load"])).await,
                        _ => {
                            let mut pipeline = redis::pipe();
                            pipeline.incr("load", 1).get("load");
                            let both = redis.pipe::<(u64, u64)>(&pipeline).await;
                            both.map(|(count, _)| count)
                        }
                    };
                    match outcome {
                        Ok(_) => {
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            errors.lock().push(error);
                            sleep(Duration::from_millis(2)).await;
                        }
                    }
                }
            });
        }
        load
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub fn errors(&self) -> usize {
        self.errors.lock().len()
    }

    /// Waits until so many more calls went through.
    pub async fn more(&self, count: u64) {
        let aim = self.acknowledged() + count;
        until("calls go through", async || self.acknowledged() >= aim).await;
    }

    /// How many calls were acknowledged, and the errors of the others.
    pub async fn stop(mut self) -> (u64, Vec<RedisError>) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let errors = std::mem::take(&mut *self.errors.lock());
        (self.acknowledged(), errors)
    }
}
