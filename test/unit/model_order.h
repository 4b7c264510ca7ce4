/*
 * model_order.h
 *		Random operations on an order, each compared with a naive model.
 */
#ifndef VQ_MODEL_ORDER_H
#define VQ_MODEL_ORDER_H

#include "source.h"

/*
 * The life of one order from nothing to destroyed, until the source ends;
 * returns the number of operations.  Aborts at the first difference.
 */
extern uint64 model_order_run(Source *source);

#endif							/* VQ_MODEL_ORDER_H */
