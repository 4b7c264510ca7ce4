/*
 * trace.c
 *		Arrivals a second, read from a file.
 */
#include "trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basics.h"

/* More than this in one second is a broken file, not a busy server. */
#define MAX_ARRIVALS 1000000

static void
add_second(Trace *trace, int *room, const char *path, const char *word)
{
	int64_t		count;

	if (!parse_number(word, strlen(word), &count) || count < 0 || count > MAX_ARRIVALS)
		die("%s: \"%s\" is no number of arrivals", path, word);
	trace->arrivals = grow(trace->arrivals, trace->seconds, room, sizeof(int));
	trace->arrivals[trace->seconds++] = (int) count;
	trace->total += (int) count;
}

Trace
trace_read(const char *path)
{
	Trace		trace = {0};
	int			room = 0;
	char	   *line = NULL;
	size_t		size = 0;
	FILE	   *file = fopen(path, "r");

	if (file == NULL)
		die("could not open %s: %s", path, strerror(errno));
	while (getline(&line, &size, file) >= 0)
	{
		if (line[0] == '#')
			continue;
		for (char *word = strtok(line, " \t\r\n"); word != NULL; word = strtok(NULL, " \t\r\n"))
			add_second(&trace, &room, path, word);
	}
	if (ferror(file))
		die("could not read %s: %s", path, strerror(errno));
	fclose(file);
	free(line);
	if (trace.total == 0)
		die("%s has no arrivals", path);
	return trace;
}
