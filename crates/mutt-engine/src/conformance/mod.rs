//! What every engine must hold, as tests against [`Engine`].
//!
//! Each check is a function over a [`Fixture`]: a fresh store that can be opened again after a
//! crash. [`conformance_tests!`](crate::conformance_tests) makes one test of each; [`run_all`]
//! runs them one after the other. A check panics where a promise is broken. It waits for
//! conditions and never assumes that something is quick; it knows nothing of any implementation.

pub mod alerts;
pub mod audit;
pub mod catalog;
pub mod config;
pub mod counters;
pub mod dead_letters;
pub mod decide;
pub mod events;
pub mod flow;
pub mod jobs;
pub mod keys;
pub mod live;
pub mod redecision;
pub mod remediation;
pub mod rules;
pub mod sample;
pub mod sessions;
pub mod unhandled;
pub mod workers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::Engine;

/// One store, empty at first.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// Opens the store. Where it was open before, every handle on it has been dropped without
    /// [`crate::Workers::close`]: the process has crashed as far as the engine can tell. Waits
    /// until the earlier one has let go.
    async fn open(&self) -> Arc<dyn Engine>;
}

/// Longer than anything takes on a slow machine; only a broken promise waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Opens the store again after a crash of `engine`, which must be the last handle on it.
pub async fn crash(fixture: &dyn Fixture, engine: Arc<dyn Engine>) -> Arc<dyn Engine> {
    drop(engine);
    fixture.open().await
}

/// Calls `attempt` until it gives something.
///
/// # Panics
/// After [`PATIENCE`], naming what was waited for.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: did not happen within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes one `#[tokio::test]` of each check, in one module per concern.
///
/// With `modules` in front it makes one test of each concern, whose checks run side by side: for
/// engines whose stores are slow to start and can be shared by a process.
///
/// The argument is an async function that makes a [`Fixture`](crate::conformance::Fixture).
/// The calling crate needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance_tests {
    ($make:expr) => {
        $crate::conformance_tests! { @list tests $make }
    };
    (modules $make:expr) => {
        $crate::conformance_tests! { @list modules $make }
    };
    // The one list of all checks.
    (@list $mode:tt $make:expr) => {
        $crate::conformance_tests! { @$mode $make;
            events {
                events_come_in_the_order_of_arrival,
                each_senders_order_holds_among_many,
                elements_come_back_byte_for_byte,
                an_enqueued_event_survives_a_crash,
                a_full_queue_takes_nothing,
                events_and_rejects_are_taken_together_or_not_at_all,
                a_claim_respects_its_limit,
                a_claim_waits_for_the_first_event,
                every_waiter_gets_an_event,
                a_cancelled_claim_loses_nothing,
                returned_events_go_to_the_head_in_order,
                shed_events_become_dead_letters,
            }
            decide {
                a_decision_takes_effect_as_a_whole,
                the_same_decision_again_changes_nothing,
                the_same_decision_at_once_counts_once,
                a_bad_decision_changes_nothing,
                a_claim_that_was_taken_over_is_fenced,
                undecided_events_come_again_after_a_crash,
                decided_events_do_not_come_again_after_a_crash,
                an_old_claim_cannot_touch_a_new_one,
                workers_decide_every_event_once,
            }
            unhandled {
                a_host_makes_one_meta_alert_at_the_threshold,
                a_signature_makes_one_meta_alert_at_the_threshold,
                a_count_that_jumps_past_the_threshold_triggers,
                each_host_counts_by_itself,
                many_workers_make_one_meta_alert,
                a_meta_alert_comes_again_after_the_window,
                a_count_is_forgotten_after_the_window,
                a_trickle_does_not_prolong_the_window,
                a_trigger_survives_a_crash,
                the_most_frequent_signatures_are_listed,
            }
            alerts {
                alerts_come_in_the_order_of_the_events,
                a_delivered_alert_is_gone,
                a_retry_waits_until_it_is_due,
                a_due_retry_comes_first,
                a_slow_alert_holds_up_no_other,
                a_claim_waits_for_the_first_alert,
                a_dead_alert_becomes_a_dead_letter,
                a_returned_alert_counts_no_attempt,
                settling_twice_changes_nothing,
                an_alert_that_was_taken_over_is_left_out,
                claimed_alerts_come_again_after_a_crash,
                retries_survive_a_crash,
                every_attempt_is_logged_in_order,
                an_alert_about_no_event_is_delivered_as_any,
                retries_are_shown_by_when_they_are_due,
            }
            dead_letters {
                dead_letters_are_listed_oldest_first,
                filters_choose_dead_letters,
                what_an_entry_says_restricts,
                dead_letters_are_added_up_by_failure,
                dead_letters_survive_a_crash,
                a_person_replays_chosen_entries,
                rejected_records_replay_to_the_ingest_queue,
                discarding_needs_a_reason,
                discarding_removes_chosen_entries,
            }
            redecision {
                an_alert_is_decided_anew,
                a_letter_that_came_twice_is_audited_once,
                an_alert_without_an_event_stays,
                undecided_entries_go_back_as_they_are,
                an_entry_goes_one_way,
            }
            remediation {
                remediation_waits_for_the_backoff,
                remediation_replays_what_is_due_unchanged,
                remediation_replays_a_batch_at_a_time,
                what_was_replayed_too_often_is_poison,
                what_waiting_cannot_mend_is_poison_at_once,
                remediation_of_events_fills_the_ingest_queue,
                poison_replays_to_where_it_came_from,
            }
            rules {
                rules_are_listed_by_priority_then_id,
                a_change_gives_a_new_version,
                a_stale_version_is_refused,
                of_many_changes_to_one_version_one_wins,
                what_does_not_exist_is_not_found,
                a_deleted_rule_can_still_be_named,
                invalid_rules_are_refused_all_together,
                an_invalid_change_changes_nothing,
                every_change_of_a_rule_is_audited,
                rule_hits_are_counted,
                the_first_and_last_hit_are_known,
            }
            catalog {
                development_hosts_are_known_in_any_case,
                device_teams_are_known_in_any_case,
                hosts_and_teams_are_audited,
                a_team_is_given_once,
                imports_are_stored_whole_or_not_at_all,
                what_is_noted_is_in_the_chain,
                changes_are_announced,
                the_catalog_survives_a_crash,
                the_hash_chain_holds_under_concurrent_changes,
                the_config_audit_is_read_in_pages,
                filters_choose_changes,
            }
            keys {
                keys_are_stored_and_used,
                a_key_name_is_given_once,
                keys_are_revoked_and_audited,
            }
            jobs {
                jobs_are_there_as_they_were_saved_last,
                a_job_is_asked_to_stop,
                so_many_ended_jobs_are_remembered,
            }
            sessions {
                a_session_is_there_until_it_is_ended,
                a_session_ends_by_itself,
                a_key_has_so_many_sessions_and_no_more,
            }
            config {
                a_value_is_set_and_unset,
                what_is_not_allowed_is_refused,
                the_old_name_means_the_new_key,
                changes_of_config_are_announced,
                changes_of_config_are_audited,
                stored_values_survive_a_crash,
                followers_see_changes,
            }
            flow {
                the_limit_holds_in_every_window,
                who_waits_as_told_gets_on,
                the_limit_holds_across_a_crash,
                names_are_limited_each_by_itself,
                no_more_is_granted_than_asked_or_allowed,
                what_was_granted_is_shown_as_used,
                failures_in_a_row_open_the_circuit,
                a_success_forgets_failures,
                one_probe_goes_out_at_a_time,
                a_probe_closes_or_opens_the_circuit,
                a_circuit_opens_at_once_when_told,
                an_open_circuit_survives_a_crash,
            }
            workers {
                a_dead_workers_events_return_oldest_first,
                a_dead_workers_alerts_return_oldest_first,
                a_live_worker_keeps_what_it_holds,
                stages_die_separately,
                retiring_returns_everything,
                recovery_happens_once,
                status_shows_queues_and_workers,
                reports_are_shown_for_their_lifetime,
                every_store_is_looked_at,
                closing_in_order_loses_nothing,
            }
            counters {
                accepted_events_are_counted_in_every_span,
                refused_events_are_not_counted,
                counters_survive_a_crash,
                outcomes_are_added_up,
                outcomes_and_counts_are_known_by_minute,
            }
            audit {
                audit_rows_are_stored_as_decided,
                audit_rows_are_read_newest_first_in_pages,
                filters_choose_audit_rows,
            }
            live {
                watchers_see_what_is_shown,
                a_slow_watcher_holds_up_nobody,
            }
        }
    };
    (@tests $make:expr; $($module:ident { $($check:ident,)* })*) => {
        $(mod $module {
            #[allow(unused_imports, reason = "the fixture may be named by an absolute path")]
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let fixture = ($make)().await;
                $crate::conformance::$module::$check(&fixture).await;
            })*
        })*
    };
    (@modules $make:expr; $($module:ident { $($check:ident,)* })*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $module() {
            let checks = ::tokio::task::LocalSet::new();
            checks.run_until(async {
                let checks = [$((
                    stringify!($check),
                    ::tokio::task::spawn_local(async {
                        let fixture = ($make)().await;
                        $crate::conformance::$module::$check(&fixture).await;
                    }),
                ),)*];
                let mut failed = ::std::vec::Vec::new();
                for (name, check) in checks {
                    if check.await.is_err() {
                        failed.push(name);
                    }
                }
                assert!(failed.is_empty(), "failed: {failed:?}");
            })
            .await;
        })*
    };
    (@run $make:expr; $($module:ident { $($check:ident,)* })*) => {
        $($({
            let fixture = ($make)().await;
            $crate::conformance::$module::$check(&fixture).await;
        })*)*
    };
}

/// Runs every check, each on a fresh store that `make` gives.
///
/// # Panics
/// Where the engine breaks a promise.
pub async fn run_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output: Fixture>,
{
    crate::conformance_tests! { @list run make }
}
