/* What jobs left behind whose launcher and janitor were both killed. */
#ifndef DDP_LAUNCHER_LEFTOVERS_H
#define DDP_LAUNCHER_LEFTOVERS_H

/* Remove the private folders of such jobs from /dev/shm, /tmp and TMPDIR. Quick, never fails, touches only
 * folders of our own user whose lock nobody holds. */
void ddp_leftovers_remove(void);

#endif
