/*
 * screen.c
 *		Shows a run while it goes on: redrawn in place on a terminal, otherwise
 *		a line a second.
 */
#include "screen.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS		78			/* of a terminal, at least, for drawing in place */
#define BAR			40			/* characters */
#define GRAPH		60

struct Screen
{
	bool		in_place;
	bool		unicode;
	int			drawn;			/* lines on the terminal that the next painting replaces */
	int64_t		next_line;		/* when the next plain line is due */
};

static const char *const unicode_levels[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
static const char *const plain_levels[] = {" ", ".", ":", "-", "=", "+", "*", "%", "#"};

#define LEVELS 9

static bool
can_draw_in_place(void)
{
	struct winsize size;
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0 &&
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= COLUMNS;
}

Screen *
screen_open(void)
{
	Screen	   *screen = get_memory(sizeof(Screen));

	screen->in_place = can_draw_in_place();
	screen->unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	return screen;
}

void
screen_close(Screen *screen)
{
	fflush(stdout);
	free(screen);
}

/* ---- pieces ---- */

static void print_line(Screen *screen, const char *format,...)
			__attribute__((format(printf, 2, 3)));

static void
print_line(Screen *screen, const char *format,...)
{
	va_list		args;

	fputs("\033[2K", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	screen->drawn++;
}

/* A bar that is full at the limit; what goes beyond is cut off. */
static const char *
bar(const Screen *screen, double value, double limit, char text[BAR * 4 + 1])
{
	int			full = limit > 0 ? (int) (value / limit * BAR + 0.5) : 0;
	char	   *at = text;

	for (int i = 0; i < BAR; i++)
	{
		const char *piece = i >= full ? (screen->unicode ? "░" : ".") : (screen->unicode ? "█" : "#");

		strcpy(at, piece);
		at += strlen(piece);
	}
	return text;
}

/* How the line grew and shrank: each character the highest of its share of the samples. */
static const char *
graph(const Screen *screen, const Figures *figures, char text[GRAPH * 4 + 1])
{
	int64_t		highest = 1;
	char	   *at = text;
	int			columns = figures->samples < GRAPH ? figures->samples : GRAPH;

	text[0] = '\0';
	for (int i = 0; i < figures->samples; i++)
		if (figures->line[i] > highest)
			highest = figures->line[i];
	for (int c = 0; c < columns; c++)
	{
		int64_t		value = 0;
		const char *piece;
		int			level;

		for (int i = c * figures->samples / columns; i < (c + 1) * figures->samples / columns; i++)
			if (figures->line[i] > value)
				value = figures->line[i];
		level = (value * (LEVELS - 1) + highest / 2) / highest;
		piece = screen->unicode ? unicode_levels[level] : plain_levels[level];
		strcpy(at, piece);
		at += strlen(piece);
	}
	return text;
}

static const char *
trace_clock(const Figures *figures, char text[40])
{
	int			second = figures->trace_second;

	if (second >= figures->trace_seconds)
		snprintf(text, 40, "over");
	else
		snprintf(text, 40, "%02d:%02d:%02d", second / 3600, second / 60 % 60, second % 60);
	return text;
}

static void
describe_example(const Example *example, char text[160])
{
	char		id[UUID_TEXT];
	int			length;

	if (!example->known)
	{
		snprintf(text, 160, "nobody waits");
		return;
	}
	length = snprintf(text, 160, "user %.8s, ticket %lld: ", uuid_print(&example->user_id, id),
					  (long long) example->ticket);
	if (example->position == 0)
		snprintf(text + length, 160 - length, "from position %lld, came in after %.1f s",
				 (long long) example->first_position, (double) example->waited / SECOND);
	else if (example->estimated_wait >= 0)
		snprintf(text + length, 160 - length, "position %lld, about %.1f s to go",
				 (long long) example->position, (double) example->estimated_wait / SECOND);
	else
		snprintf(text + length, 160 - length, "position %lld", (long long) example->position);
}

/* ---- painting ---- */

static void
paint_in_place(Screen *screen, const Figures *figures)
{
	char		rate[BAR * 4 + 1];
	char		inside[BAR * 4 + 1];
	char		line[GRAPH * 4 + 1];
	char		clock[40];
	char		example[160];

	if (screen->drawn > 0)
		printf("\033[%dA", screen->drawn);
	screen->drawn = 0;
	describe_example(&figures->example, example);
	print_line(screen, "trace     %-9s arrived %5d of %d", trace_clock(figures, clock),
			   figures->arrived, figures->total);
	print_line(screen, "waiting   %5lld", (long long) figures->waiting);
	print_line(screen, "          %s", graph(screen, figures, line));
	print_line(screen, "inside    %5lld of %-8lld %s", (long long) figures->serving,
			   (long long) figures->cap, bar(screen, figures->serving, figures->cap, inside));
	print_line(screen, "released  %5.0f of %.0f a s   %s", figures->released_a_second,
			   figures->limit, bar(screen, figures->released_a_second, figures->limit, rate));
	print_line(screen, "example   %s", example);
	print_line(screen, "events    %5lld, telling of %lld let in and %lld gone",
			   (long long) figures->events, (long long) figures->released_heard,
			   (long long) figures->ended_heard);
	fflush(stdout);
}

static void
paint_line(Screen *screen, const Figures *figures, int64_t now)
{
	char		clock[40];
	char		example[160];

	if (now < screen->next_line)
		return;
	screen->next_line = now + SECOND - SCREEN_INTERVAL / 2;
	describe_example(&figures->example, example);
	printf("%-8s  arrived %5d  waiting %5lld  inside %3lld of %lld  released %3.0f of %.0f a s"
		   "  events %5lld  %s\n",
		   trace_clock(figures, clock), figures->arrived, (long long) figures->waiting,
		   (long long) figures->serving, (long long) figures->cap, figures->released_a_second,
		   figures->limit, (long long) figures->events, example);
	fflush(stdout);
}

void
screen_paint(Screen *screen, const Figures *figures, int64_t now)
{
	if (screen->in_place)
		paint_in_place(screen, figures);
	else
		paint_line(screen, figures, now);
}
