-- `slow --since` reads this index alone until it has its rows.

DROP INDEX dur_stat_slow;
CREATE INDEX dur_stat_slow ON dur_stat (suite, est_us, cost_ms);
