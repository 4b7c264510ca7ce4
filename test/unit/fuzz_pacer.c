/*
 * fuzz_pacer.c
 *		libFuzzer's entry to the model of the pacer.
 */
#include "model_pacer.h"

extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	Source		source = source_of_bytes(data, size);

	model_pacer_run(&source);
	return 0;
}
