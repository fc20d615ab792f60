//! Redis servers start, keep their data and die when they should.

use mutt_testbed::Redis;

#[test]
fn a_killed_server_comes_back_with_its_data() {
    let redis = Redis::start();
    redis.command(&["RPUSH", "queue", "first", "second"]);
    let pid = redis.pid();
    redis.kill();
    assert!(redis.try_command(&["PING"]).is_err());
    redis.restart();
    assert_ne!(redis.pid(), pid);
    assert_eq!(
        redis.command(&["LRANGE", "queue", "0", "-1"]),
        "first\nsecond"
    );
}
