/*
 * fuzz_order.c
 *		libFuzzer's entry to the model of the order.
 */
#include "model_order.h"

extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	Source		source = source_of_bytes(data, size);

	model_order_run(&source);
	return 0;
}
