/*
 * CloudWatch Logs in front of src/logs. Loop thread only. The context of logs_service (gen/logs.h)
 * is a struct logs_service.
 */
#pragma once

#include "logs/logs.h"

struct logs_service;

/* g must outlive it. */
struct logs_service *logs_service_open(struct logs *g);
void logs_service_close(struct logs_service *s); /* NULL is fine; all calls are gone before */
