// A command as a fact: what of it must be alike on all workers of a build. What names a place on this machine or an
// output of this job is left out, and what may be this job's number or name is marked (MSG_FACT_OWN_BEGINS).
#ifndef WORKER_FACTS_COMMAND_H
#define WORKER_FACTS_COMMAND_H

struct identity;

// The caller frees the text.
char *facts_command(char *const *words, const struct identity *identity);
// The same of words that white space parts; NULL counts as "".
char *facts_command_line(const char *line, const struct identity *identity);

#endif
