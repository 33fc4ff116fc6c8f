/* Prices: built in, or from a JSON file; exact integer arithmetic. See meter_int.h. */
#include <jansson.h>

#include "meter/meter_int.h"

static const struct prices builtin = {
    .pico_per_request = 200000,
    .tmp_pico_per_gb_s = 30900,
    .compute =
	{
	    [METER_X86_64] = {{6000000000u, 16666700}, {15000000000u, 15000000},
		{UINT64_MAX, 13333400}},
	    [METER_ARM64] = {{7500000000u, 13333400}, {18750000000u, 12000100},
		{UINT64_MAX, 10666700}},
	},
    .tasks =
	{
	    [METER_TASK] = {[METER_X86_64] = {40480000000, 4445000000},
		[METER_ARM64] = {32380000000, 3560000000}},
	    [METER_SPOT_TASK] = {[METER_X86_64] = {12144000000, 1333500000},
		[METER_ARM64] = {9714000000, 1068000000}},
	},
    .disk_pico_per_gb_h = 111000000,
};

static bool to_pico(const json_t *v, double scale, int64_t *ret)
{
	double d = json_number_value(v) * scale;

	if (!json_is_number(v) || !(d >= 0 && d < 1e18))
		return false;
	*ret = (int64_t)(d + 0.5);
	return true;
}

static bool load_tiers(const json_t *list, struct tier *tiers)
{
	size_t n = json_array_size(list);
	uint64_t before = 0;

	if (n == 0 || n > TIERS_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		const json_t *t = json_array_get(list, i),
			     *to = json_object_get(t, "up_to_gb_seconds");
		double limit = json_number_value(to);

		if (!to_pico(json_object_get(t, "usd"), 1e12, &tiers[i].pico_per_gb_s))
			return false;
		if (i + 1 == n) {
			tiers[i].up_to_gb_s = UINT64_MAX;
			return to == NULL;
		}
		if (!json_is_number(to) || !(limit > (double)before && limit < 1e15))
			return false;
		tiers[i].up_to_gb_s = before = (uint64_t)limit;
	}
	return true;
}

static bool load_task(const json_t *o, struct task_price *ret)
{
	return to_pico(json_object_get(o, "usd_per_vcpu_hour"), 1e12, &ret->pico_per_vcpu_h) &&
	       to_pico(json_object_get(o, "usd_per_gb_hour"), 1e12, &ret->pico_per_gb_h);
}

/* Price files from before there were tasks have none of it. */
static bool load_tasks(const json_t *o, struct prices *p)
{
	static const struct {
		const char *name;
		enum meter_what what;
		enum meter_arch arch;
	} all[] = {
	    {"x86_64", METER_TASK, METER_X86_64},
	    {"arm64", METER_TASK, METER_ARM64},
	    {"spot_x86_64", METER_SPOT_TASK, METER_X86_64},
	    {"spot_arm64", METER_SPOT_TASK, METER_ARM64},
	};

	if (!o)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (!load_task(
			json_object_get(o, all[i].name), &p->tasks[all[i].what][all[i].arch]))
			return false;
	return to_pico(json_object_get(o, "disk_usd_per_gb_hour"), 1e12, &p->disk_pico_per_gb_h);
}

int prices_load(struct prices *p, const char *path, struct err *e)
{
	json_error_t why;
	json_t *root;
	bool ok;

	*p = builtin;
	if (!path)
		return 0;
	root = json_load_file(path, 0, &why);
	if (!root)
		return err_set(e, EINVAL, "price file %s, line %d: %s", path, why.line, why.text);
	ok =
	    to_pico(json_object_get(root, "usd_per_million_requests"), 1e6, &p->pico_per_request) &&
	    to_pico(json_object_get(root, "tmp_usd_per_gb_second"), 1e12, &p->tmp_pico_per_gb_s) &&
	    load_tiers(
		json_object_get(root, "x86_64_usd_per_gb_second"), p->compute[METER_X86_64]) &&
	    load_tiers(json_object_get(root, "arm64_usd_per_gb_second"), p->compute[METER_ARM64]) &&
	    load_tasks(json_object_get(root, "fargate"), p);
	json_decref(root);
	if (!ok)
		return err_set(e, EINVAL, "price file %s: not as docs/prices.json shows", path);
	return 0;
}

meter_int128 prices_compute(
    const struct prices *p, enum meter_arch arch, uint64_t before_mb_ms, uint64_t mb_ms)
{
	meter_int128 at = before_mb_ms, end = at + mb_ms, sum = 0;

	for (size_t i = 0; i < TIERS_MAX && at < end; i++) {
		const struct tier *t = &p->compute[arch][i];
		meter_int128 limit = (meter_int128)t->up_to_gb_s * MB_MS_PER_GB_S;
		meter_int128 to = end < limit ? end : limit;

		if (to <= at)
			continue;
		sum += (to - at) * t->pico_per_gb_s;
		at = to;
	}
	return sum;
}
