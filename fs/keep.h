/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/keep.h - a mount that outlives its daemon, because the service manager holds its descriptor
 *
 * systemd's descriptor store (FileDescriptorStoreMax= of the unit) gets the kernel's descriptor and the request that began the mount. When the
 * daemon ends in whatever way, who uses the mount waits for the next one. What had been read and not answered the kernel is asked to say again,
 * which Linux can since 6.9; on older ones nothing is given to keep.
 */
#ifndef SBXFS_FS_KEEP_H
#define SBXFS_FS_KEEP_H

#include <stdbool.h>

#include "base/buf.h"
#include "fs/handover.h"

/* Have them kept, if there is somebody to. @init: the first request. */
void keep_give(int fuse_fd, const struct buf *init);

/* Is the mount kept? Then a daemon that leaves all running need not unmount. */
bool keep_has(void);

/* The mount that was unmounted need not be kept any more. */
void keep_forget(void);

/* What was kept for this process. Return: true and @ret, which is then what another daemon handed over but for opens and requests. */
bool keep_take(struct handover *ret);

#endif
