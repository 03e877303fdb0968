/* SPDX-License-Identifier: Apache-2.0 */
/* For cppcheck alone, which does not read system headers: a macro that is a loop. */
#define HASH_ITER(hh, head, e, tmp) for ((e) = (head), (tmp) = (e)->hh.next; (e); (e) = (tmp))
