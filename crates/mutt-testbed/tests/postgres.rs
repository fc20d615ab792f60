//! PostgreSQL servers start, keep their data and die when they should.

use mutt_testbed::Postgres;

#[test]
fn a_killed_server_comes_back_with_its_data() {
    let postgres = Postgres::start();
    postgres.create_database("mutt");
    postgres.sql_in("mutt", "CREATE TABLE t (n int)");
    postgres.sql_in("mutt", "INSERT INTO t VALUES (1), (2)");
    postgres.kill();
    assert!(postgres.try_sql_in("mutt", "SELECT 1").is_err());
    postgres.restart();
    assert_eq!(
        postgres.sql_in("mutt", "SELECT n FROM t ORDER BY n"),
        "1\n2"
    );
}
