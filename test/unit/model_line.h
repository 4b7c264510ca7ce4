/*
 * model_line.h
 *		Random operations on a line, each compared with a naive model.
 */
#ifndef VQ_MODEL_LINE_H
#define VQ_MODEL_LINE_H

#include "source.h"

/*
 * The life of one line from nothing to destroyed, until the source ends;
 * returns the number of operations.  Aborts at the first difference.
 */
extern uint64 model_line_run(Source *source);

#endif							/* VQ_MODEL_LINE_H */
