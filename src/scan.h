/*
 * scan.h
 *		SELECT ... FROM join(...), poll(...) and the like without a function scan's detour.
 *
 * PostgreSQL scans a function by having it form a row, storing that in a
 * tuplestore and reading it out again, which costs several times what a poll
 * itself does.  Where a function that answers with one place stands in FROM, the
 * planner gets a path that fills the row's columns in directly.
 */
#ifndef VQ_SCAN_H
#define VQ_SCAN_H

/* Offer the path to the planner; when the server starts. */
extern void vq_scan_init(void);

#endif							/* VQ_SCAN_H */
