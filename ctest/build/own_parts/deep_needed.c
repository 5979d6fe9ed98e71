/* deep_needed.c - a library that only the search path of deep_caller.c leads to. */
int needed_answer(void);
int needed_answer(void) { return 42; }
