/*
 * feature.h
 *		What can be switched off for a tenant.
 */
#ifndef VQ_FEATURE_H
#define VQ_FEATURE_H

#include "utils/uuid.h"

typedef enum VqFeature
{
	VQ_FEATURE_PASSES,
	VQ_FEATURE_BOARD,
	VQ_FEATURE_DRAW,
	VQ_FEATURE_EVENTS_LOG,
	VQ_FEATURE_USER_DATA,
	VQ_FEATURE_COUNT
} VqFeature;

/*
 * Go on only if the current tenant, or this one, has a feature.
 * Errors: 0A000 it is switched off; 42704 there is no such tenant.
 */
extern void vq_need_feature(VqFeature feature);
extern void vq_need_feature_of(const pg_uuid_t *tenant, VqFeature feature);

#endif							/* VQ_FEATURE_H */
