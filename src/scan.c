/*
 * scan.c
 *		SELECT ... FROM join(...), poll(...) and the like without a function scan's detour.
 *
 * A custom scan of one row.  It is the function scan's equal in all that can be
 * seen: who may execute, when and how often the function is called, and what is
 * counted of it.  Whatever else may stand around a function in FROM (laterals,
 * ordinality, whole rows, several functions at once) is left to the function scan.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "compat.h"
#include "entropy.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "pgstat.h"
#include "scan.h"
#include "session.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* Functions that answer with a place, and how each comes by it. */
static const struct
{
	PGFunction	function;
	void		(*answer) (FunctionCallInfo fcinfo, VqPlace *place);
}			answers[] =
{
	{vqueue_poll, vq_poll},
	{vqueue_status, vq_status},
	{vqueue_join, vq_join},
	{vqueue_claim, vq_claim},
	{vqueue_complete, vq_complete},
	{vqueue_leave, vq_leave}
};

/* Of join. */
#define MOST_ARGUMENTS 6

typedef struct VqScan
{
	CustomScanState css;
	List	   *arguments;		/* of ExprState, or NULL where there is none */
	FmgrInfo	function;
	int			which;			/* of answers[] */
	bool		called;			/* place is what the function answered */
	bool		returned;		/* and its row has been returned */
	VqPlace		place;
} VqScan;

static set_rel_pathlist_hook_type next_hook = NULL;

/* ---- execution ---- */

static void
check_may_execute(Oid function)
{
	AclResult	result = vq_function_aclcheck(function, GetUserId());

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FUNCTION, get_func_name(function));
	InvokeFunctionExecuteHook(function);
}

/*
 * Collect the parameters of the executor that an expression uses; true if it has
 * a subquery that is not evaluated beforehand, and may use any.
 */
static bool
collect_params(Node *node, Bitmapset **params)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan))
		return true;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
		*params = bms_add_member(*params, ((Param *) node)->paramid);
	return expression_tree_walker(node, collect_params, params);
}

static bool
is_random_uuid(const Expr *argument)
{
	return IsA(argument, FuncExpr) && ((const FuncExpr *) argument)->funcid == F_GEN_RANDOM_UUID;
}

/*
 * The state for evaluating an argument.  To set up an expression costs more than a
 * rank, so what is known, or made here, has none.
 */
static ExprState *
prepare(Expr *argument, PlanState *parent)
{
	if (is_random_uuid(argument))
		check_may_execute(F_GEN_RANDOM_UUID);
	else if (!IsA(argument, Const) &&
			 !(IsA(argument, Param) && ((const Param *) argument)->paramkind == PARAM_EXTERN))
		return ExecInitExpr(argument, parent);
	return NULL;
}

static void
begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	VqScan	   *scan = (VqScan *) node;
	CustomScan *plan = castNode(CustomScan, node->ss.ps.plan);
	FuncExpr   *call = linitial_node(FuncExpr, plan->custom_exprs);
	ListCell   *cell;

	check_may_execute(call->funcid);

	/* What is known already is not looked up; statistics of calls need the rest, as for any C function. */
	scan->function.fn_oid = call->funcid;
	scan->function.fn_stats = TRACK_FUNC_PL;	/* that is, if all are tracked */
	fmgr_info_set_expr((Node *) call, &scan->function);
	foreach(cell, call->args)
		scan->arguments = lappend(scan->arguments, prepare(lfirst(cell), &node->ss.ps));
	scan->which = intVal(linitial(plan->custom_private));
}

/* The value of a parameter of the statement, as the executor's own evaluation comes by it. */
static void
get_parameter(const Param *param, ExprContext *econtext, NullableDatum *value)
{
	ParamListInfo list = econtext->ecxt_param_list_info;
	ParamExternData *given = NULL;
	ParamExternData space;

	if (list != NULL && param->paramid > 0 && param->paramid <= list->numParams)
		given = list->paramFetch != NULL ? list->paramFetch(list, param->paramid, false, &space) :
			&list->params[param->paramid - 1];

	/* Whoever planned the statement has seen to it. */
	if (given == NULL)
		elog(ERROR, "unexpected parameter %d of a call", param->paramid);

	/* Not to this: a record of PL/pgSQL may have become another one since. */
	if (given->ptype != param->paramtype)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type of parameter %d (%s) does not match that when preparing the plan (%s)",
						param->paramid, format_type_be(given->ptype), format_type_be(param->paramtype))));
	value->value = given->value;
	value->isnull = given->isnull;
}

/*
 * Evaluate an argument.  A user's id that is made by default is made here, of
 * randomness drawn in advance, as gen_random_uuid() pays for each anew.
 */
static void
evaluate(const Expr *argument, ExprState *state, ExprContext *econtext, NullableDatum *value)
{
	if (state != NULL)
		value->value = ExecEvalExpr(state, econtext, &value->isnull);
	else if (IsA(argument, Const))
	{
		value->value = ((const Const *) argument)->constvalue;
		value->isnull = ((const Const *) argument)->constisnull;
	}
	else if (IsA(argument, Param))
		get_parameter((const Param *) argument, econtext, value);
	else
	{
		pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

		vq_random_uuid(id);
		value->value = UUIDPGetDatum(id);
		value->isnull = false;
	}
}

/* Call the function, as far as the place that it would make a row of. */
static void
call_function(VqScan *scan, ExprContext *econtext)
{
	LOCAL_FCINFO(fcinfo, MOST_ARGUMENTS);
	PgStat_FunctionCallUsage usage;
	MemoryContext old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	const FuncExpr *call = (const FuncExpr *) scan->function.fn_expr;
	ListCell   *cell;
	ListCell   *state;

	InitFunctionCallInfoData(*fcinfo, &scan->function, list_length(call->args), InvalidOid, NULL, NULL);
	forboth(cell, call->args, state, scan->arguments)
		evaluate(lfirst(cell), lfirst(state), econtext, &fcinfo->args[foreach_current_index(cell)]);
	pgstat_init_function_usage(fcinfo, &usage);
	answers[scan->which].answer(fcinfo, &scan->place);
	pgstat_end_function_usage(&usage, true);
	scan->called = true;
	MemoryContextSwitchTo(old);
}

static TupleTableSlot *
next_row(ScanState *node)
{
	VqScan	   *scan = (VqScan *) node;
	TupleTableSlot *slot = node->ss_ScanTupleSlot;

	ExecClearTuple(slot);
	if (scan->returned)
		return slot;
	if (!scan->called)
		call_function(scan, node->ps.ps_ExprContext);
	vq_place_values(&scan->place, slot->tts_values, slot->tts_isnull);
	scan->returned = true;
	return ExecStoreVirtualTuple(slot);
}

/* No row is locked here, so none is rechecked. */
static bool
recheck_row(ScanState *node, TupleTableSlot *slot)
{
	return true;
}

static TupleTableSlot *
execute_scan(CustomScanState *node)
{
	return ExecScan(&node->ss, next_row, recheck_row);
}

static void
end_scan(CustomScanState *node)
{
}

/* The same answer again, unless an argument may be another one: what joins shall not join twice. */
static void
restart_scan(CustomScanState *node)
{
	VqScan	   *scan = (VqScan *) node;
	const FuncExpr *call = (const FuncExpr *) scan->function.fn_expr;
	Bitmapset  *params = NULL;

	if (node->ss.ps.chgParam != NULL &&
		(collect_params((Node *) call->args, &params) || bms_overlap(node->ss.ps.chgParam, params)))
		scan->called = false;
	bms_free(params);
	scan->returned = false;
	ExecScanReScan(&node->ss);
}

static void
explain_scan(CustomScanState *node, List *ancestors, ExplainState *es)
{
	FuncExpr   *call = linitial_node(FuncExpr, castNode(CustomScan, node->ss.ps.plan)->custom_exprs);

	ExplainPropertyText("Function", get_func_name(call->funcid), es);
}

static Node *
create_scan_state(CustomScan *plan)
{
	static const CustomExecMethods methods = {
		.CustomName = "vqueue place",
		.BeginCustomScan = begin_scan,
		.ExecCustomScan = execute_scan,
		.EndCustomScan = end_scan,
		.ReScanCustomScan = restart_scan,
		.ExplainCustomScan = explain_scan
	};
	VqScan	   *scan = (VqScan *) newNode(sizeof(VqScan), T_CustomScanState);

	scan->css.methods = &methods;
	return (Node *) scan;
}

static const CustomScanMethods scan_methods = {
	.CustomName = "vqueue place",
	.CreateCustomScanState = create_scan_state
};

/* ---- planning ---- */

/* Whether it may be ours: others' libraries are not loaded to find out. */
static bool
is_named_like_ours(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		like_ours;

	if (!HeapTupleIsValid(tuple))
		return false;
	like_ours = ((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId;
	if (like_ours)
	{
		bool		isnull;
		Datum		symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);

		like_ours = !isnull && strncmp(TextDatumGetCString(symbol), "vqueue_", strlen("vqueue_")) == 0;
	}
	ReleaseSysCache(tuple);
	return like_ours;
}

/* Which function of ours an expression calls, or -1.  One with settings of its own is called by a detour. */
static int
function_called(const Node *expr)
{
	FmgrInfo	info;

	if (!IsA(expr, FuncExpr) || list_length(((const FuncExpr *) expr)->args) > MOST_ARGUMENTS ||
		!is_named_like_ours(((const FuncExpr *) expr)->funcid))
		return -1;
	fmgr_info(((const FuncExpr *) expr)->funcid, &info);
	for (int i = 0; i < (int) lengthof(answers); i++)
	{
		if (info.fn_addr == answers[i].function)
			return i;
	}
	return -1;
}

/* Whether the row as a whole is asked for; here there are only its columns. */
static bool
wants_whole_row(const RelOptInfo *rel)
{
	Bitmapset  *columns = NULL;
	ListCell   *cell;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &columns);
	foreach(cell, rel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause, rel->relid, &columns);
	return bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, columns);
}

static Plan *
plan_scan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist, List *clauses, List *children)
{
	CustomScan *scan = makeNode(CustomScan);
	RangeTblEntry *rte = planner_rt_fetch(rel->relid, root);

	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->flags = path->flags;
	scan->custom_exprs = list_make1(linitial_node(RangeTblFunction, rte->functions)->funcexpr);
	scan->custom_scan_tlist = build_physical_tlist(root, rel);
	scan->custom_private = path->custom_private;
	scan->methods = &scan_methods;
	return &scan->scan.plan;
}

/* Which function of ours stands in FROM in a way that can be scanned here, or -1. */
static int
function_in_from(RelOptInfo *rel, const RangeTblEntry *rte)
{
	int			which;

	/* Where a condition is false whatever the row, the planner has seen to it that none is asked for. */
	if (rte->rtekind != RTE_FUNCTION || rte->funcordinality || list_length(rte->functions) != 1 ||
		!bms_is_empty(rel->lateral_relids) || IS_DUMMY_REL(rel))
		return -1;
	which = function_called(linitial_node(RangeTblFunction, rte->functions)->funcexpr);
	if (list_length(rte->eref->colnames) != VQ_PLACE_COLUMNS || wants_whole_row(rel))
		return -1;
	return which;
}

static void
offer_path(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	static const CustomPathMethods methods = {
		.CustomName = "vqueue place",
		.PlanCustomPath = plan_scan
	};
	CustomPath *path;
	Path	   *usual;
	int			which;

	if (next_hook)
		next_hook(root, rel, rti, rte);
	which = function_in_from(rel, rte);
	if (which < 0 || rel->pathlist == NIL)
		return;
	usual = linitial(rel->pathlist);
	path = makeNode(CustomPath);
	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.rows = usual->rows;
	path->path.total_cost = usual->startup_cost;
	path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_private = list_make1(makeInteger(which));
	path->methods = &methods;
	add_path(rel, &path->path);
}

void
vq_scan_init(void)
{
	RegisterCustomScanMethods(&scan_methods);
	next_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = offer_path;
}
