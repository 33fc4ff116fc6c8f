/* What the files of event source mappings share: documents made of requests, answers of documents.
 */
#pragma once

#include "service/lambda/lambda_int.h"
#include "source/source.h"

/* What CreateEventSourceMapping and UpdateEventSourceMapping have in common. */
struct esm_wanted {
	const int64_t *batch_size, *window_s, *record_age_s, *retries, *parallelization,
	    *tumbling_s;
	const bool *bisect, *enabled;
	const struct lambda_destination_config *destination;
	const struct lambda_filter_criteria *filter;
	const struct lambda_function_response_type_list *response_types;
	const struct lambda_provisioned_poller_config *pollers;
	const struct lambda_scaling_config *scaling;
	const struct lambda_self_managed_kafka_event_source_config *kafka;
	const struct lambda_source_access_configurations *access;
	/* What this server has not. */
	const void *managed_kafka, *document_db, *logging, *metrics;
	const char *kms_key_arn;
};
#define ESM_WANTED(in)                                                                       \
	{                                                                                    \
		.batch_size = (in)->batch_size,                                              \
		.window_s = (in)->maximum_batching_window_in_seconds,                        \
		.record_age_s = (in)->maximum_record_age_in_seconds,                         \
		.retries = (in)->maximum_retry_attempts,                                     \
		.parallelization = (in)->parallelization_factor,                             \
		.tumbling_s = (in)->tumbling_window_in_seconds,                              \
		.bisect = (in)->bisect_batch_on_function_error, .enabled = (in)->enabled,    \
		.destination = (in)->destination_config, .filter = (in)->filter_criteria,    \
		.response_types = (in)->function_response_types,                             \
		.pollers = (in)->provisioned_poller_config, .scaling = (in)->scaling_config, \
		.kafka = (in)->self_managed_kafka_event_source_config,                       \
		.access = (in)->source_access_configurations,                                \
		.managed_kafka = (in)->amazon_managed_kafka_event_source_config,             \
		.document_db = (in)->document_db_event_source_config,                        \
		.logging = (in)->logging_config, .metrics = (in)->metrics_config,            \
		.kms_key_arn = (in)->kms_key_arn,                                            \
	}

/* event_source_check.c: may this be asked of a source of this kind ("sqs")? doc is what has been
 * merged of it; checked as a whole. */
int esm_check_wanted(const char *kind, const struct esm_wanted *w, struct err *e);
int esm_check(struct call *c, const char *kind, const json_t *doc, struct err *e);

/* event_source_tags.c: tags of the mapping that this ARN names. add and remove may be NULL. */
bool esm_is_arn(const char *resource);
int esm_list_tags(struct call *c, const char *arn, struct lambda_list_tags_out *out, struct err *e);
int esm_change_tags(struct call *c, const char *arn, const struct lambda_tags *add,
    const struct lambda_tag_key_list *remove, struct err *e);

/* event_source_doc.c: documents and answers. */
void esm_merge(json_t *doc, const struct esm_wanted *w);
void esm_describe(struct call *c, const struct source_mapping *m,
    struct lambda_event_source_mapping_configuration *out);
