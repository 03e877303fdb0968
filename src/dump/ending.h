/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of tasks that were dumped and hold much memory.
 *
 * A killed task gives its memory back page by page and alone: for small pages that takes half as long as reading
 * and storing them did, and a dump is not over before its tasks are gone. process_mrelease(2), meant for whoever runs
 * out of memory, lets others help. It finds the memory only between the kill and the task's first steps towards its
 * end, so helpers stand ready when it is killed. Who comes late, or has a kernel without that (before 5.15), waits.
 */
#ifndef DUMP_ENDING_H
#define DUMP_ENDING_H

struct dump;

/* Kills the tasks with much memory and helps them to be rid of it. The others are left, and so is the waiting. */
void ending_hasten(const struct dump *d);

#endif
