/* A clock that stands still until the test turns it. The test is linked with --wrap for the three
 * functions, so everything but time.c itself sees it. Any thread. */
#pragma once

#include "base/time.h"

static int64_t model_clock_wall_us = 1800000000000000, model_clock_mono_us = 1000000;

int64_t __wrap_time_mono_ns(void);
int64_t __wrap_time_wall_ms(void);
int64_t __wrap_time_wall_us(void);

int64_t __wrap_time_wall_us(void)
{
	return __atomic_load_n(&model_clock_wall_us, __ATOMIC_RELAXED);
}

int64_t __wrap_time_wall_ms(void)
{
	return __wrap_time_wall_us() / 1000;
}

int64_t __wrap_time_mono_ns(void)
{
	return __atomic_load_n(&model_clock_mono_us, __ATOMIC_RELAXED) * 1000;
}

static inline void model_clock_advance(int64_t us)
{
	__atomic_add_fetch(&model_clock_wall_us, us, __ATOMIC_RELAXED);
	__atomic_add_fetch(&model_clock_mono_us, us, __ATOMIC_RELAXED);
}

/* Somebody sets the wall clock. */
static inline void model_clock_set_back(int64_t us)
{
	__atomic_sub_fetch(&model_clock_wall_us, us, __ATOMIC_RELAXED);
}
