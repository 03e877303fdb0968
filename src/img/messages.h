/* SPDX-License-Identifier: Apache-2.0 */
/* All messages of proto/ in one include: the generated headers are named here and nowhere else. */
#ifndef IMG_MESSAGES_H
#define IMG_MESSAGES_H

#include "cgroup.pb-c.h"
#include "cpuinfo.pb-c.h"
#include "eventfds.pb-c.h"
#include "files.pb-c.h"
#include "fown.pb-c.h"
#include "fsnotify.pb-c.h"
#include "ipc.pb-c.h"
#include "mm.pb-c.h"
#include "namespaces.pb-c.h"
#include "net.pb-c.h"
#include "pipes.pb-c.h"
#include "regfile.pb-c.h"
#include "rpc.pb-c.h"
#include "sockets.pb-c.h"
#include "stats.pb-c.h"
#include "task.pb-c.h"
#include "tree.pb-c.h"
#include "tty.pb-c.h"
#include "x86.pb-c.h"

#endif
