/*
 * fuzz_jwt.c
 *		libFuzzer's entry to the model of passes.
 */
#include "model_jwt.h"

extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	if (size > 0 && data[0] % 8 == 7)
	{
		Source		source = source_of_bytes(data + 1, size - 1);

		(void) model_jwt_run(&source);
	}
	else
		model_jwt_bytes(data, size);
	return 0;
}
