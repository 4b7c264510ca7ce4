/*
 * asan-preload.c
 *		What a server needs beside libasan to run with a sanitized library.
 *
 * Built as a shared library by odd-server.sh and preloaded after libasan, which
 * PostgreSQL itself was not built with.
 */
#include <dlfcn.h>
#include <stddef.h>

/*
 * PostgreSQL hangs in bindtextdomain() when libasan is preloaded, before it does
 * anything.  Without it messages are not translated, which no test wants.
 */
extern char *bindtextdomain(const char *domain, const char *directory);
extern char *bind_textdomain_codeset(const char *domain, const char *codeset);

char *
bindtextdomain(const char *domain, const char *directory)
{
	(void) domain;
	return (char *) directory;
}

char *
bind_textdomain_codeset(const char *domain, const char *codeset)
{
	(void) domain;
	return (char *) codeset;
}

/*
 * libubsan reads its options at its first report.  PostgreSQL has moved the
 * environment by then, to show its state in the title of the process.
 */
extern const char *__ubsan_default_options(void);

const char *
__ubsan_default_options(void)
{
	return "print_stacktrace=1:halt_on_error=0:log_path=" REPORTS "/asan";
}

/*
 * Both libraries have a function of this name, and libubsan too calls libasan's:
 * what it says above is the path for that one, its own is set here.
 */
__attribute__((constructor)) static void
set_report_path(void)
{
	void	   *libubsan = dlopen("libubsan.so.1", RTLD_NOW);
	void		(*set_path) (const char *path);

	if (libubsan == NULL)
		return;
	*(void **) &set_path = dlsym(libubsan, "__sanitizer_set_report_path");
	if (set_path != NULL)
		set_path(REPORTS "/ubsan");
}
