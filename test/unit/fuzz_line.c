/*
 * fuzz_line.c
 *		libFuzzer's entry to the model of the line.
 */
#include "model_line.h"

extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	Source		source = source_of_bytes(data, size);

	model_line_run(&source);
	return 0;
}
