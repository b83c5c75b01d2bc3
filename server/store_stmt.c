// Every SQL statement of the store that is not schema or PRAGMA, by number. Called by store_sql.c, which prepares each
// at its first use. Values come in as bound parameters only; nothing is ever pasted into a text. Where a plan matters
// the index is named, so that a statement fails loudly, in the unit tests, when the schema no longer has it.
#include <assert.h>

#include "server/store_impl.h"

#define SUITE_ONE "=?1"
#define SUITES_ALL " IN (SELECT id FROM suite WHERE project=?1)"

// How long a build was over before it was opened again: store_span_wall_us takes it behind started_ms and ended_ms.
#define PAUSED(build) "(SELECT coalesce(sum(to_ms-from_ms), 0) FROM pause WHERE build=" build ".id)"

#define BUILDS(from, suite) \
  "SELECT b.ext, s.name, b.commit_sha, b.branch, b.state, b.started_ms, b.ended_ms," PAUSED("b") ", b.tests," \
  " b.passed, b.failed, b.workers, b.text FROM " from                                         \
  " CROSS JOIN suite s ON s.id=b.suite"                                                       \
  " WHERE b.suite" suite " AND b.started_ms>=?4 AND (?5='' OR b.branch=?5) ORDER BY b.id DESC LIMIT ?2 OFFSET ?3"

// Of each suite the branch's newest build, of those whose results are kept.
#define NEWEST(suite)                                                         \
  "(SELECT max(b.id) FROM build b INDEXED BY build_suite WHERE b.suite" suite \
  " AND b.branch=?5 AND b.id>=(SELECT min(build) FROM result) GROUP BY b.suite)"

// The columns of those tests alone that are shown.
#define SLOW(tests)                                                                                          \
  "SELECT t.node, f.path, d.est_us, d.last_us, d.high_us, d.setup_us, d.n, CAST(d.runs7/7*1000 AS INTEGER)," \
  " CAST(d.cost7/7 AS INTEGER) FROM (" tests                                                                 \
  " ORDER BY s.est_us DESC LIMIT ?2 OFFSET ?3) x CROSS JOIN dur_stat d ON d.test=x.test"                     \
  " CROSS JOIN test t ON t.id=d.test LEFT JOIN file_stat f ON f.id=t.file ORDER BY x.est_us DESC"

// Down the index until there are enough.
#define SLOW_WALK(suite)                                                                                             \
  SLOW("SELECT s.test, s.est_us FROM dur_stat s INDEXED BY dur_stat_slow WHERE s.suite" suite                        \
       " AND s.cost_ms>=?4 AND (?5='' OR EXISTS (SELECT 1 FROM result r WHERE r.test=s.test AND r.build IN " NEWEST( \
           suite) "))")

// Of few tests that a branch's build ran, all; they are sorted.
#define SLOW_FEW(suite)                                                                         \
  SLOW("SELECT s.test, s.est_us FROM (SELECT DISTINCT test FROM result WHERE build IN " NEWEST( \
      suite) ") r CROSS JOIN dur_stat s ON s.test=r.test WHERE s.cost_ms>=?4")

#define SLOW_TESTS(suite) "SELECT CAST(total(tests) AS INTEGER) FROM build WHERE id IN " NEWEST(suite)

// ?6: a week before now. Commits are counted for those alone that are shown.
#define FLAKY(suite)                                                                                              \
  "SELECT x.node, x.path, x.state, x.f, x.r, x.flips, x.runs, x.builds,"                                          \
  " (SELECT count(DISTINCT commit_key) FROM flake_event e WHERE e.test=x.test),"                                  \
  " x.kind, x.last_event_ms, x.hits7, x.lost_us, x.expires_ms FROM"                                               \
  " (SELECT k.*, t.node, f.path, q.expires_ms, (SELECT count(*) FROM flake_event e WHERE e.test=k.test"           \
  " AND e.at_ms>=?6 AND e.flags&16) AS hits7"                                                                     \
  " FROM flake_stat k INDEXED BY flake_stat_state CROSS JOIN test t ON t.id=k.test"                               \
  " LEFT JOIN file_stat f ON f.id=t.file LEFT JOIN quarantine q ON q.test=k.test"                                 \
  " WHERE k.state>=2 AND k.state IN (2, 3) AND k.suite" suite                                                     \
  " AND k.last_event_ms>=?4 AND (?5='' OR EXISTS"                                                                 \
  " (SELECT 1 FROM flake_event e CROSS JOIN build b ON b.id=e.build WHERE e.test=k.test AND b.branch=?5))"        \
  " ORDER BY k.state DESC, hits7 DESC, k.lost_us DESC, (k.f+0.02)/(k.r+20.02) DESC, k.test LIMIT ?2 OFFSET ?3) x" \
  " ORDER BY x.state DESC, x.hits7 DESC, x.lost_us DESC, (x.f+0.02)/(x.r+20.02) DESC, x.test"

// ?6, here and in SLOWER: the number of the branch. Without a set, a test fails where it began to.
#define BROKEN(suite)                                                                                    \
  "SELECT t.node, f.path, k.since_ms, nullif(good.commit_sha, ''), nullif(bad.commit_sha, ''), bad.ext," \
  " bad.branch, k.streak, k.streak_attempts, k.streak_workers, k.streak_builds, k.last_fail_ms"          \
  " FROM flake_stat k INDEXED BY flake_stat_state CROSS JOIN test t ON t.id=k.test"                      \
  " LEFT JOIN file_stat f ON f.id=t.file LEFT JOIN build good ON good.id=k.last_good"                    \
  " LEFT JOIN build bad ON bad.id=k.first_bad WHERE k.state=4 AND k.state>=2 AND k.suite" suite          \
  " AND k.last_fail_ms>=?4"                                                                              \
  " AND (?5='' OR iif(k.bad_branches IS NULL, bad.branch=?5, instr(k.bad_branches, ?6)))"                \
  " ORDER BY k.streak_builds DESC, k.since_ms, k.test LIMIT ?2 OFFSET ?3"

#define SLOWER(suite)                                                                    \
  "SELECT t.node, f.path, d.base_us, d.step_us, d.step_us*1000000/max(d.base_us, 1),"    \
  " CAST((d.step_us-d.base_us)*d.runs7/7 AS INTEGER) AS cost, nullif(a.commit_sha, '')," \
  " nullif(z.commit_sha, ''), z.ext, z.branch, d.step_ms"                                \
  " FROM dur_stat d INDEXED BY dur_stat_step CROSS JOIN test t ON t.id=d.test"           \
  " LEFT JOIN file_stat f ON f.id=t.file LEFT JOIN build a ON a.id=d.step_from"          \
  " LEFT JOIN build z ON z.id=d.step_to WHERE d.step_ms>0 AND d.suite" suite             \
  " AND d.step_ms>=?4 AND (?5='' OR z.branch=?5 OR instr(d.step_branches, ?6))"          \
  " ORDER BY cost DESC, d.test LIMIT ?2 OFFSET ?3"

#define TOTAL(suite) "SELECT CAST(total(est_us) AS INTEGER) FROM dur_stat INDEXED BY dur_stat_slow WHERE suite" suite

#define LOG(which)                                                                                       \
  "SELECT l.at_ms, t.node, l.old, l.new, l.who, l.why FROM state_log l CROSS JOIN test t ON t.id=l.test" \
  " WHERE l." which " AND l.at_ms>=?4 ORDER BY l.id DESC LIMIT ?2 OFFSET ?3"

#define MUTED(suite)                                                                                          \
  "SELECT t.node, f.path, q.origin, q.reason, q.who, q.ticket, q.created_ms, q.expires_ms, q.extend, k.state" \
  " FROM quarantine q CROSS JOIN test t ON t.id=q.test LEFT JOIN file_stat f ON f.id=t.file"                  \
  " LEFT JOIN flake_stat k ON k.test=q.test WHERE q.suite" suite " ORDER BY q.expires_ms, q.test LIMIT ?2 OFFSET ?3"

#define CANDIDATES(suite)                                                                 \
  "SELECT t.node, f.path, k.hits, k.f, k.r FROM flake_stat k INDEXED BY flake_stat_state" \
  " CROSS JOIN test t ON t.id=k.test LEFT JOIN file_stat f ON f.id=t.file"                \
  " WHERE k.state>=2 AND k.state=3 AND k.suite" suite                                     \
  " AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.test=k.test) ORDER BY k.hits DESC, k.test LIMIT ?2"

static const char *const texts[] = {
    [SQL_FREELIST] = "PRAGMA freelist_count",
    [SQL_META_READ] = "SELECT value FROM meta WHERE key=?1",
    [SQL_SIZES] =
        "SELECT min(iif(purged, NULL, started_ms)), sum(NOT purged), count(*),"
        " (SELECT freelist_count*page_size FROM pragma_freelist_count(), pragma_page_size()) FROM build",
    [SQL_META_SET] = "UPDATE meta SET value=?2 WHERE key=?1",

    [SQL_PROJECT_FIND] = "SELECT id FROM project WHERE name=?1",
    [SQL_PROJECT_ADD] = "INSERT INTO project(name) VALUES(?1) RETURNING id",
    [SQL_SUITE_FIND] = "SELECT id FROM suite WHERE project=?1 AND name=?2",
    [SQL_SUITE_ADD] = "INSERT INTO suite(project, name) VALUES(?1, ?2) RETURNING id",
    [SQL_BUILD_ADD] =
        "INSERT INTO build(id, suite, ext, commit_sha, branch, state, started_ms, retries, max_failures,"
        " on_retry, by_file, linger_us, timeout_per_test_us, ord, by_class, tokens, min_workers, min_workers_us, trunk)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    [SQL_LAST_OF_BRANCH] =
        "SELECT b.id FROM build own CROSS JOIN build b INDEXED BY build_suite ON b.suite=own.suite WHERE own.id=?1"
        " AND own.ord=1 AND own.branch<>'' AND b.branch=own.branch AND b.id<?1 AND b.state>=3 AND b.tests>0"
        " ORDER BY b.id DESC LIMIT 1",
    [SQL_PUZZLES] =
        "SELECT k.test FROM build b CROSS JOIN flake_stat k INDEXED BY flake_stat_state WHERE b.id=?1"
        " AND k.suite=b.suite AND k.state>=2 AND k.state IN (2, 3) AND k.kind=0",
    [SQL_TRUNK_BUILDS] =
        "SELECT b.id, b.skipped, b.branch FROM build own CROSS JOIN build b INDEXED BY build_suite ON b.suite=own.suite"
        " WHERE own.id=?1 AND b.id<?1 AND b.trunk<>0 AND b.trusted<>0 AND b.state=3 AND b.tests>0 AND b.purged=0"
        " ORDER BY b.id DESC LIMIT ?2",
    [SQL_SKIPPED_OF_BUILD] =
        "SELECT test FROM result r WHERE build=?1 AND flags&1<>0 AND status=4 AND NOT EXISTS"
        " (SELECT 1 FROM result o WHERE o.build=r.build AND o.test=r.test AND o.status<>4)",
    [SQL_RAN_ON_TRUNK] = "SELECT test FROM flake_stat WHERE test BETWEEN ?1 AND ?2 AND last_good<>0 ORDER BY test",
    [SQL_FAILED_OF_BUILD] = "SELECT test FROM result WHERE build=?1 AND flags&1<>0 AND status IN (2, 3, 7, 8)",
    [SQL_BUILD_SUITE] = "SELECT suite FROM build WHERE id=?1",
    [SQL_BUILD_LIST] = "UPDATE build SET list=?2, tests=?3 WHERE id=?1",
    [SQL_BUILD_IDENTITY] = "UPDATE build SET commit_sha=?2, facts=?3, mixed=?4, sources=?5 WHERE id=?1",
    [SQL_BUILD_STATE] = "UPDATE build SET state=?2, ended_ms=iif(?2>=3, ?3, NULL), text=?4 WHERE id=?1",
    [SQL_BUILD_PAUSE] =
        "INSERT OR IGNORE INTO pause(build, from_ms, to_ms)"
        " SELECT id, ended_ms, ?2 FROM build WHERE id=?1 AND ended_ms<?2",
    [SQL_BUILD_ROUND] = "UPDATE build SET round=?2, state=2, ended_ms=NULL, text=NULL, purged=0 WHERE id=?1",
    [SQL_BUILD_COUNTS] =
        "UPDATE build SET passed=passed+?2, failed=failed+?3, skipped=skipped+?4, muted=muted+?5 WHERE id=?1",
    [SQL_BUILD_UNTRUSTED] = "UPDATE build SET trusted=0 WHERE id=?1",
    [SQL_BUILD_BRANCH] = "SELECT branch FROM build WHERE id=?1",
    [SQL_BUILD_WORKER] = "UPDATE build SET workers=workers+1 WHERE id=?1",
    [SQL_WORKER_UPDATE] =
        "UPDATE worker SET node=?3, attempt=?4, host=?5, session=?6, joined_ms=?7, left_ms=NULL,"
        " brings=?8, completed=?9, again=?10, opened=?11, part=?12, parts=?13 WHERE build=?1 AND idx=?2",
    [SQL_WORKER_ADD] =
        "INSERT INTO worker(build, idx, node, attempt, host, session, joined_ms, brings, completed, again, opened, "
        "part,"
        " parts) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [SQL_WORKER_COUNTS] =
        "UPDATE worker SET acked=max(acked, ?3), tests=min(tests+?4, 1<<45), failed=min(failed+?5, 1<<45),"
        " busy_us=min(busy_us+?6, 1<<45)"
        " WHERE build=?1 AND idx=?2",
    [SQL_WORKER_LEFT] = 
        "UPDATE worker SET left_ms=?3, late=coalesce(?4, late), fact=?5, cleared=?6 WHERE build=?1 AND idx=?2",
    [SQL_WORKER_CLEARED] = "UPDATE worker SET cleared=?3, fact=iif(fact&3=0, fact|2, fact) WHERE build=?1 AND idx=?2",
    [SQL_RESULT_ADD] = "INSERT INTO result VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING",
    [SQL_OUTPUT_ADD] = "INSERT INTO output VALUES(?1, ?2, ?3, ?4)",
    [SQL_ROUND_ADD] = "INSERT INTO round(build, n, at_ms, count, tests) VALUES(?1, ?2, ?3, ?4, ?5)",
    [SQL_ROUND_BEFORE] = "SELECT n, count, tests FROM round WHERE build=?1 AND n<?2 ORDER BY n",
    [SQL_VERDICT] =
        "SELECT iif(flags&32, 32, status) FROM result WHERE build=?1 AND test=?2 AND flags&1 AND round>=?3"
        " ORDER BY attempt DESC LIMIT 1",

    [SQL_FILE_FIND] = "SELECT id FROM file_stat WHERE suite=?1 AND path=?2",
    [SQL_FILE_ADD] = "INSERT INTO file_stat(suite, path) VALUES(?1, ?2) RETURNING id",
    [SQL_TEST_FIND] = "SELECT id, coalesce(file, 0), last_seen_ms FROM test WHERE suite=?1 AND node=?2",
    [SQL_TEST_ADD] =
        "INSERT INTO test(suite, node, file, first_seen_ms, last_seen_ms)"
        " VALUES(?1, ?2, nullif(?3, 0), ?4, ?4) RETURNING id",
    [SQL_TEST_SEEN] = "UPDATE test SET file=nullif(?2, 0), last_seen_ms=?3 WHERE id=?1",
    [SQL_LIST_FIND] = "SELECT id, seen_ms, count, file_count, tests, files FROM list WHERE suite=?1 AND digest=?2",
    [SQL_LIST_ADD] =
        "INSERT INTO list(suite, digest, count, file_count, tests, units, file_of, files, seen_ms, marks)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING id",
    [SQL_LIST_SEEN] = "UPDATE list SET seen_ms=?2 WHERE id=?1",
    [SQL_HISTORY] = "SELECT test, n, ring, setup_us FROM dur_stat WHERE test BETWEEN ?1 AND ?2 ORDER BY test",
    [SQL_FILE_SETUP] = "SELECT max(0, min(setup_us, 1<<40)) FROM file_stat WHERE id=?1",

    [SQL_LEARN_NEXT] =
        "SELECT id, suite, learned_round+1, learned, commit_sha, coalesce(ended_ms, started_ms), trusted, trunk,"
        " branch"
        " FROM build INDEXED BY build_unlearned WHERE round > learned_round + (state < 3)"
        " ORDER BY learned=0, id LIMIT 1",
    [SQL_LEARN_ROWS] =
        "SELECT r.test, r.attempt, r.worker, r.status, r.flags, r.round, r.start_ms, r.setup_us, r.call_us,"
        " r.teardown_us, coalesce(t.file, 0), coalesce(d.est_us, 0) FROM result r"
        " CROSS JOIN test t ON t.id=r.test LEFT JOIN dur_stat d ON d.test=r.test"
        " WHERE r.build=?1 AND (r.test, r.attempt)>(?2, ?3) ORDER BY r.test, r.attempt LIMIT ?4",
    [SQL_LEARN_BUILDS] =
        "SELECT b.id, max(coalesce(ended_ms, started_ms)-started_ms-" PAUSED("b") ", 0)*1000*workers"
        " FROM build b INDEXED BY build_commit WHERE suite=?1 AND commit_sha=?2"
        " AND commit_sha<>'' AND id<>?3 AND learned_round>0 AND trusted AND NOT sick ORDER BY id DESC LIMIT ?4",
    [SQL_LEARN_OTHERS] =
        "SELECT test, status, flags FROM result r WHERE build=?1 AND test BETWEEN ?2 AND ?3 AND NOT EXISTS"
        " (SELECT 1 FROM worker w WHERE w.build=r.build AND w.idx=r.worker AND w.sick) ORDER BY test, attempt",
    [SQL_DURATION_MORE] =
        "SELECT builds, runs7, cost7, cost_ms, base_us, step_us, step_ms, step_from, step_to,"
        " step_branches FROM dur_stat WHERE test=?1",
    [SQL_DURATION_PUT] =
        "INSERT INTO dur_stat(test, suite, n, ring, setup_us, last_us, est_us, high_us, builds, runs7, cost7, cost_ms,"
        " base_us, step_us, step_ms, step_from, step_to, step_branches)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
        " ON CONFLICT DO UPDATE SET n=excluded.n, ring=excluded.ring, setup_us=excluded.setup_us,"
        " last_us=excluded.last_us, est_us=excluded.est_us, high_us=excluded.high_us, builds=excluded.builds,"
        " runs7=excluded.runs7, cost7=excluded.cost7, cost_ms=excluded.cost_ms, base_us=excluded.base_us,"
        " step_us=excluded.step_us, step_ms=excluded.step_ms, step_from=excluded.step_from, step_to=excluded.step_to,"
        " step_branches=excluded.step_branches",
    [SQL_FILE_SETUP_PUT] = "UPDATE file_stat SET setup_us=?2, n=min(n+1, 1<<45) WHERE id=?1",
    [SQL_LEARN_CURSOR] = "UPDATE build SET learned=?2 WHERE id=?1",
    [SQL_LEARN_DONE] =
        "UPDATE build SET learned=0, learned_round=max(?2, min(round-(state<3), coalesce((SELECT min(r.round)-1"
        " FROM result r WHERE r.build=?1 AND r.round>?2 AND r.round<1<<32), round))) WHERE id=?1",

    [SQL_JUDGE_WORKERS] = "SELECT idx, host, coalesce(speed_ppm, 0), node FROM worker WHERE build=?1",
    [SQL_JUDGE_LAST] =
        "SELECT first_n, first_failed FROM build INDEXED BY build_suite WHERE suite=?1 AND id<?2 AND learned_round>0"
        " AND trusted ORDER BY id DESC LIMIT 1",
    [SQL_JUDGE_WORKER] = "UPDATE worker SET sick=?3, speed_ppm=?4 WHERE build=?1 AND idx=?2",
    [SQL_JUDGE_BUILD] =
        "UPDATE build SET sick=?2, first_n=?3, first_failed=?4, predicted_us=?5, setups=?6, setup_us=?7,"
        " longest_test=?8, last_test=?9 WHERE id=?1",
    [SQL_FLAKE_READ] =
        "SELECT f, r, at_ms, since_ms, cleared_ms, last_event_ms, last_good, first_bad, bad_commit, bad_worker,"
        " trials, clean, streak, streak_attempts, bad_workers, state, flagged, kind, hits, bad_ms, bad_branches"
        " FROM flake_stat WHERE test=?1",
    [SQL_FLAKE_PUT] =
        "INSERT INTO flake_stat(test, suite, f, r, at_ms, since_ms, cleared_ms, last_event_ms, last_good, first_bad,"
        " bad_commit, bad_worker, trials, clean, streak, streak_attempts, streak_workers, state, flagged, kind,"
        " flips, runs, fails, builds, last_flip_ms, last_fail_ms, streak_builds, hits, lost_us, bad_ms, bad_workers,"
        " bad_branches)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,"
        " ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32) ON CONFLICT DO UPDATE SET f=excluded.f, r=excluded.r,"
        " at_ms=excluded.at_ms, since_ms=excluded.since_ms, cleared_ms=excluded.cleared_ms,"
        " last_event_ms=excluded.last_event_ms, last_good=excluded.last_good, first_bad=excluded.first_bad,"
        " bad_commit=excluded.bad_commit, bad_worker=excluded.bad_worker, trials=excluded.trials,"
        " clean=excluded.clean, streak=excluded.streak, streak_attempts=excluded.streak_attempts,"
        " streak_workers=excluded.streak_workers, bad_ms=excluded.bad_ms, bad_workers=excluded.bad_workers,"
        " bad_branches=excluded.bad_branches, state=excluded.state, flagged=excluded.flagged, kind=excluded.kind,"
        " flips=min(flips+excluded.flips, 1<<45), runs=min(runs+excluded.runs, 1<<45), fails=min(fails+excluded.fails, "
        "1<<45),"
        " builds=min(builds+excluded.builds, 1<<45), last_flip_ms=max(last_flip_ms, excluded.last_flip_ms),"
        " last_fail_ms=max(last_fail_ms, excluded.last_fail_ms),"
        " streak_builds=iif(excluded.streak=0, 0, min(streak_builds+excluded.streak_builds, 1<<45)), "
        "hits=min(hits+excluded.hits, "
        "1<<45),"
        " lost_us=min(lost_us+excluded.lost_us, 1<<45)",
    [SQL_EVENT_READ] =
        "SELECT at_ms, build, commit_key, host_key, worker, flags, cluster, weight FROM flake_event"
        " WHERE test=?1 AND at_ms>?2 ORDER BY at_ms DESC LIMIT ?3",
    [SQL_EVENT_PUT] = "INSERT OR REPLACE INTO flake_event VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    [SQL_EVENT_DROP] = "DELETE FROM flake_event WHERE test=?1 AND at_ms<?2",
    [SQL_STATE_LOG] =
        "INSERT INTO state_log(suite, test, at_ms, old, new, who, why) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [SQL_MUTE_DROP] = "DELETE FROM quarantine WHERE test=?1",

    [SQL_IMPORT_PUT] =
        "INSERT INTO dur_stat(test, suite, n, ring, setup_us, last_us, est_us, high_us)"
        " VALUES(?1, ?2, 1, ?3, 0, ?4, ?5, ?4) ON CONFLICT DO UPDATE SET ring=excluded.ring,"
        " last_us=excluded.last_us, est_us=excluded.est_us, high_us=excluded.high_us WHERE n=1 AND cost_ms=0",
    [SQL_QUERY_DURATIONS] =
        "SELECT d.test, t.node, f.path, d.est_us FROM dur_stat d CROSS JOIN test t ON t.id=d.test"
        " LEFT JOIN file_stat f ON f.id=t.file WHERE d.test>?2 AND d.suite=?1 ORDER BY d.test LIMIT ?3",

    [SQL_MUTE_AUTO_DROP] = "DELETE FROM quarantine WHERE test=?1 AND origin='auto'",
    [SQL_MUTE_PUT] =
        "INSERT OR REPLACE INTO quarantine(test, suite, origin, reason, who, ticket, created_ms, expires_ms, extend)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    [SQL_MUTE_READ] = "SELECT expires_ms, extend FROM quarantine WHERE test=?1",
    [SQL_MUTE_COUNT] = "SELECT count(*) FROM quarantine INDEXED BY quarantine_suite WHERE suite=?1 AND test<>?2",
    [SQL_MUTE_EXTEND] = "UPDATE quarantine SET expires_ms=?2, extend=0 WHERE test=?1",
    [SQL_MUTE_OF_LIST] =
        "SELECT test FROM quarantine INDEXED BY quarantine_suite WHERE suite=?1 AND expires_ms>?2 ORDER BY test",
    [SQL_MUTE_OF_BUILD] = "SELECT muted_count, muted_tests FROM build WHERE id=?1 AND muted_count>0",
    [SQL_MUTE_SET_BUILD] = "UPDATE build SET muted_count=?2, muted_tests=?3 WHERE id=?1",
    [SQL_TESTS_COUNT] = "SELECT count(*) FROM test WHERE suite=?1",
    [SQL_QUERY_MUTED] = MUTED(SUITE_ONE),
    [SQL_QUERY_MUTED_ALL] = MUTED(SUITES_ALL),
    [SQL_QUERY_CANDIDATES] = CANDIDATES(SUITE_ONE),
    [SQL_QUERY_CANDIDATES_ALL] = CANDIDATES(SUITES_ALL),

    [SQL_KEEP_NEXT] =
        "SELECT id, coalesce(list, 0) FROM build INDEXED BY build_kept WHERE purged=0 AND state>=3"
        " AND ended_ms<?1 AND learned_round>=round ORDER BY ended_ms LIMIT 1",
    [SQL_KEEP_CUT] = "SELECT test FROM result WHERE build=?1 ORDER BY test LIMIT 1 OFFSET ?2",
    [SQL_KEEP_OUTPUT] = "DELETE FROM output WHERE build=?1 AND test<?2",
    [SQL_KEEP_RESULT] = "DELETE FROM result WHERE build=?1 AND test<?2",
    [SQL_KEEP_WORKER] = "DELETE FROM worker WHERE build=?1",
    [SQL_KEEP_ROUND] = "DELETE FROM round WHERE build=?1",
    [SQL_KEEP_BUILD] = "UPDATE build SET purged=1, list=NULL WHERE id=?1",
    [SQL_KEEP_LIST] = "DELETE FROM list WHERE id=?1 AND NOT EXISTS (SELECT 1 FROM build WHERE list=?1)",

    [SQL_UNFINISHED] = "SELECT id FROM build INDEXED BY build_running WHERE state<3 ORDER BY id",
    [SQL_FIND] = "SELECT id FROM build WHERE suite=?1 AND ext=?2",
    [SQL_FIND_NEWEST] =
        "SELECT id FROM build INDEXED BY build_suite WHERE suite=?1 AND (?2='' OR branch=?2) ORDER BY id DESC LIMIT 1",
    [SQL_READ_BUILD] =
        "SELECT p.name, s.name, b.ext, b.commit_sha, b.branch, b.started_ms, b.retries, b.max_failures,"
        " b.on_retry, b.linger_us, b.timeout_per_test_us, b.by_file, b.state, b.round, b.ord, b.by_class, b.tokens,"
        " b.min_workers, b.min_workers_us, b.facts, b.mixed, b.sources, b.ended_ms FROM build b"
        " CROSS JOIN suite s ON s.id=b.suite CROSS JOIN project p ON p.id=s.project WHERE b.id=?1",
    [SQL_READ_WORKERS] =
        "SELECT idx, node, attempt, host, session, joined_ms, acked, left_ms IS NOT NULL, late,"
        " brings, fact, cleared, completed, again, opened, part, parts FROM worker WHERE build=?1 ORDER BY idx",
    [SQL_READ_LIST] =
        "SELECT l.count, l.file_count, l.tests, l.units, l.file_of, l.files, l.marks"
        " FROM build b CROSS JOIN list l ON l.id=b.list WHERE b.id=?1",
    [SQL_TEST_NODE] = "SELECT node FROM test WHERE id=?1",
    [SQL_FILE_PATH] = "SELECT path FROM file_stat WHERE id=?1",
    [SQL_READ_NODES] = "SELECT id, node FROM test WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    [SQL_READ_PATHS] = "SELECT id, path FROM file_stat WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    [SQL_READ_NEXT] =
        "SELECT coalesce(min(n), 0) FROM (SELECT min(round) n FROM result WHERE build=?1 AND round>?2 AND round<=?3"
        " UNION ALL SELECT min(n) FROM round WHERE build=?1 AND n>?2 AND n<=?3)",
    [SQL_READ_ROUND] = "SELECT count, tests FROM round WHERE build=?1 AND n=?2",
    [SQL_READ_RESULTS] =
        "SELECT test, attempt, worker, status, flags, start_ms, setup_us, call_us, teardown_us,"
        " iif(status=4, (SELECT text FROM output o WHERE o.build=r.build AND o.test=r.test AND o.attempt=r.attempt),"
        " NULL) FROM result r WHERE build=?1 AND round=?2 ORDER BY test, attempt",

    [SQL_QUERY_BUILDS] = BUILDS("build b INDEXED BY build_suite", SUITE_ONE),
    [SQL_QUERY_BUILDS_ALL] = BUILDS("build b", SUITES_ALL),
    [SQL_QUERY_WORKERS] =
        "SELECT idx, node, host, joined_ms, left_ms, tests, failed, busy_us, speed_ppm, iif(sick, 'sick', NULL)"
        " FROM worker WHERE build=?1 AND joined_ms>=?4 ORDER BY idx LIMIT ?2 OFFSET ?3",
    [SQL_QUERY_SLOW] = SLOW_WALK(SUITE_ONE),
    [SQL_QUERY_SLOW_ALL] = SLOW_WALK(SUITES_ALL),
    [SQL_QUERY_SLOW_FEW] = SLOW_FEW(SUITE_ONE),
    [SQL_QUERY_SLOW_FEW_ALL] = SLOW_FEW(SUITES_ALL),
    [SQL_QUERY_SLOW_TESTS] = SLOW_TESTS(SUITE_ONE),
    [SQL_QUERY_SLOW_TESTS_ALL] = SLOW_TESTS(SUITES_ALL),
    [SQL_QUERY_FLAKY] = FLAKY(SUITE_ONE),
    [SQL_QUERY_FLAKY_ALL] = FLAKY(SUITES_ALL),
    [SQL_QUERY_BROKEN] = BROKEN(SUITE_ONE),
    [SQL_QUERY_BROKEN_ALL] = BROKEN(SUITES_ALL),
    [SQL_QUERY_SLOWER] = SLOWER(SUITE_ONE),
    [SQL_QUERY_SLOWER_ALL] = SLOWER(SUITES_ALL),
    [SQL_QUERY_TOTAL] = TOTAL(SUITE_ONE),
    [SQL_QUERY_TOTAL_ALL] = TOTAL(SUITES_ALL),
    [SQL_QUERY_LOG] = LOG("suite" SUITE_ONE),
    [SQL_QUERY_LOG_ALL] = LOG("suite" SUITES_ALL),
    [SQL_QUERY_LOG_TEST] = LOG("test" SUITE_ONE),
    [SQL_QUERY_STATE] =
        "SELECT t.node, f.path, s.name, coalesce(k.state, 0), nullif(k.since_ms, 0), coalesce(k.f, 0),"
        " coalesce(k.r, 0), coalesce(k.flips, 0), coalesce(k.runs, 0), coalesce(k.builds, 0), coalesce(k.kind, 0),"
        " nullif(k.last_event_ms, 0), nullif(k.last_fail_ms, 0), coalesce(k.lost_us, 0), q.expires_ms FROM test t"
        " CROSS JOIN suite s ON s.id=t.suite LEFT JOIN file_stat f ON f.id=t.file"
        " LEFT JOIN flake_stat k ON k.test=t.id LEFT JOIN quarantine q ON q.test=t.id WHERE t.id=?1",
    [SQL_QUERY_BUILD] =
        "SELECT b.ext, s.name, b.commit_sha, b.branch, b.state, b.started_ms, b.ended_ms," PAUSED("b") ", b.predicted_us, b.tests,"
        " b.passed, b.failed, b.skipped, b.workers, b.setups, b.setup_us, l.node, z.node, b.trusted, b.sick, b.text,"
        " CASE b.mixed&3 WHEN 0 THEN '' WHEN 1 THEN 'commit' WHEN 2 THEN 'environment' ELSE 'commit, environment' END,"
        " replace(replace(replace(rtrim(b.facts, char(10)), char(14), ''), char(15), ''), char(10), ', ')"
        " FROM build b CROSS JOIN suite s ON s.id=b.suite LEFT JOIN test l ON l.id=b.longest_test"
        " LEFT JOIN test z ON z.id=b.last_test WHERE b.id=?1",
    [SQL_QUERY_WALL] = "SELECT b.started_ms, b.ended_ms, " PAUSED("b") " FROM build b WHERE b.id=?1",
    [SQL_QUERY_PAUSES] = "SELECT from_ms, to_ms FROM pause WHERE build=?1 ORDER BY from_ms",
    [SQL_QUERY_TIMES] =
        "SELECT worker, start_ms, setup_us+call_us+teardown_us, status, flags FROM result WHERE build=?1",
    [SQL_QUERY_SUITES] = "SELECT id FROM suite WHERE project=?1 AND (?2='' OR name=?2) ORDER BY id",
    [SQL_QUERY_RUNS] =
        "SELECT b.ext, b.commit_sha, b.branch, r.start_ms, r.worker, w.node, r.attempt, r.status, r.setup_us,"
        " r.call_us, r.teardown_us, o.text, s.name FROM build b INDEXED BY build_suite CROSS JOIN suite s ON s.id=?1"
        " CROSS JOIN result r ON r.build=b.id AND r.test=?2"
        " LEFT JOIN worker w ON w.build=r.build AND w.idx=r.worker"
        " LEFT JOIN output o ON o.build=r.build AND o.test=r.test AND o.attempt=r.attempt"
        " WHERE b.suite=?1 AND b.id>=coalesce((SELECT id FROM build INDEXED BY build_suite WHERE suite=?1"
        " ORDER BY id DESC LIMIT 1 OFFSET ?5), 0)"
        " AND b.started_ms>=?6 AND (?7='' OR b.branch=?7) ORDER BY b.id DESC, r.attempt DESC LIMIT ?3 OFFSET ?4",
    [SQL_REPORT_LIST] = "SELECT coalesce(list, 0) FROM build WHERE id=?1",
    [SQL_REPORT_TEST] =
        "SELECT r.attempt, r.status, r.flags, r.round, r.worker, w.node, w.host, r.start_ms, r.setup_us,"
        " r.call_us, r.teardown_us, o.text FROM result r"
        " LEFT JOIN worker w ON w.build=r.build AND w.idx=r.worker"
        " LEFT JOIN output o ON o.build=r.build AND o.test=r.test AND o.attempt=r.attempt"
        " WHERE r.build=?1 AND r.test=?2 ORDER BY r.attempt",
    [SQL_REPORT_NODE] = "SELECT t.node, f.path FROM test t LEFT JOIN file_stat f ON f.id=?2 WHERE t.id=?1",
    [SQL_REPORT_BYTES] = "SELECT coalesce(sum(length(text)), 0) FROM output WHERE build=?1 AND test=?2",

    [SQL_QUERY_SKIPS] =
        "SELECT r.worker, r.test, o.text FROM result r"
        " LEFT JOIN output o ON o.build=r.build AND o.test=r.test AND o.attempt=r.attempt"
        " WHERE r.build=?1 AND r.status=4 AND (SELECT v.status<>4 AND v.worker<>r.worker FROM result v"
        " WHERE v.build=r.build AND v.test=r.test AND v.flags&1<>0 ORDER BY v.attempt DESC LIMIT 1)"
        " ORDER BY r.test, r.attempt",
    [SQL_QUERY_LOST] =
        "SELECT count(*) FROM result r WHERE r.build=?1 AND r.status=4 AND r.flags&1<>0 AND NOT EXISTS"
        " (SELECT 1 FROM result l WHERE l.build=r.build AND l.test=r.test AND l.attempt>r.attempt AND l.flags&1<>0)"
        " AND EXISTS (SELECT 1 FROM result t WHERE t.build IN (?2, ?3, ?4) AND t.test=r.test AND t.flags&1<>0"
        " AND t.status<>4)",
    [SQL_QUERY_WORKER] = "SELECT node, host FROM worker WHERE build=?1 AND idx=?2",

    [SQL_QUERY_ERRORS] =
        "SELECT idx, node, host, fact&3, cleared=0, left_ms, substr(late, 1, ?4) FROM worker"
        " WHERE build=?1 AND fact&3<>0 ORDER BY idx LIMIT ?2 OFFSET ?3",

    [SQL_FORECAST_BUILD] =
        "SELECT id FROM build INDEXED BY build_suite WHERE suite=?1 AND list IS NOT NULL ORDER BY id DESC LIMIT 1",
    [SQL_FORECAST_TIMES] = "SELECT test, est_us FROM dur_stat INDEXED BY dur_stat_slow WHERE suite=?1",
    [SQL_FORECAST_RESULT] =
        "SELECT setup_us+call_us+teardown_us FROM result WHERE build=?1 AND test=?2 AND flags&17=1"
        " ORDER BY attempt DESC LIMIT 1",
    [SQL_FORECAST_BOOT] =
        "SELECT max(0, min(w.left_ms-w.joined_ms-w.busy_us/1000)) FROM (SELECT id FROM build INDEXED BY build_suite"
        " WHERE suite=?1 AND state=3 AND workers>0 ORDER BY id DESC LIMIT ?2) b"
        " CROSS JOIN worker w ON w.build=b.id WHERE w.left_ms IS NOT NULL AND w.tests>0 GROUP BY b.id",
};
static_assert(COUNT_OF(texts) == SQL_COUNT, "one text per statement");

const char *store_stmt_text(enum store_sql which) {
  assert(which < SQL_COUNT && texts[which] != NULL);
  return texts[which];
}
