// From the names of a JUnit case back to the test's id: the inverse of junit_split_id, as far as there is one. Used
// where there is no list of tests to compare with.
#ifndef WORKER_JUNIT_ID_H
#define WORKER_JUNIT_ID_H

// The id of a case, the caller's to free, and *file (NULL: none), too. `file` and `classname` may be "". Without a
// class the name is the id. "tests.test_a.K" with the file tests/test_a.py, which is looked for below the working
// folder when none is told, gives tests/test_a.py::K::NAME. NULL: the class leads to no file.
char *junit_id(const char *file, const char *classname, const char *name, char **file_out);

#endif
