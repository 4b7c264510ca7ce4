/*
 * version.c
 *		Of which version the SQL objects in this database are.
 *
 * The library comes first in an upgrade: it serves the SQL of earlier versions, by
 * looking at what there is.  Of a later one it cannot know what tables and
 * functions mean there, so it touches nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "fmgr.h"
#include "table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "version.h"

/* Below 0, 0 or above 0, as a comes before b, is the same, or comes after it; by their numbers. */
static int
compare_versions(const char *a, const char *b)
{
	while (*a != '\0' || *b != '\0')
	{
		char	   *a_end;
		char	   *b_end;
		long		a_number = strtol(a, &a_end, 10);
		long		b_number = strtol(b, &b_end, 10);

		if (a_number != b_number)
			return a_number < b_number ? -1 : 1;

		/* What is no number is not compared. */
		if ((*a_end != '.' && *a_end != '\0') || (*b_end != '.' && *b_end != '\0'))
			return 0;
		a = *a_end == '.' ? a_end + 1 : a_end;
		b = *b_end == '.' ? b_end + 1 : b_end;
	}
	return 0;
}

bool
vq_sql_is_newer(char *version)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull = true;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("vqueue"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
	{
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull);

		if (!isnull)
			text_to_cstring_buffer(DatumGetTextPP(value), version, VQ_VERSION_SIZE);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return !isnull && compare_versions(version, VQ_VERSION) > 0;
}

/*
 * Has every session, and the worker, look anew for the tables there are, once
 * this transaction has committed: a new one is not among those that they watch.
 */
PG_FUNCTION_INFO_V1(vqueue_extension_updated);
Datum
vqueue_extension_updated(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcacheByRelid(vq_relation(VQ_TENANTS));
	PG_RETURN_VOID();
}
