/*
 * client.h
 *		What the benchmark's client programs have in common.
 *
 * The server is found by the usual variables.  Whatever goes wrong ends the
 * program with a message: a figure of a run in which something failed is none.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <libpq-fe.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SECOND INT64_C(1000000000)

static inline void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* Monotonic time in nanoseconds. */
static inline int64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static inline void
pause_for(int64_t nanoseconds)
{
	struct timespec t = {nanoseconds / SECOND, nanoseconds % SECOND};

	nanosleep(&t, NULL);
}

static inline PGconn *
connect_to(const char *database)
{
	const char *names[] = {"dbname", NULL};
	const char *values[] = {database, NULL};
	PGconn	   *conn = PQconnectdbParams(names, values, 0);

	if (PQstatus(conn) != CONNECTION_OK)
		die("%s", PQerrorMessage(conn));
	return conn;
}

static inline void
prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult   *result = PQprepare(conn, name, sql, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("%s", PQresultErrorMessage(result));
	PQclear(result);
}

/* Die unless the result is rows or a command that ended well; returns it. */
static inline PGresult *
checked(PGresult *result)
{
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		die("%s", PQresultErrorMessage(result));
	return result;
}

#endif							/* BENCH_CLIENT_H */
