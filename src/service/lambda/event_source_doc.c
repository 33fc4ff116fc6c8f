/* Event source mappings: requests as documents, documents as answers. Loop thread. */
#include "service/lambda/event_source_int.h"

/* ---- requests ---- */

static void put_int(json_t *doc, const char *key, const int64_t *value)
{
	if (value)
		doc_set_int(doc, key, *value);
}

static void put_bool(json_t *doc, const char *key, const bool *value)
{
	if (value)
		json_object_set_new(doc, key, json_boolean(*value));
}

/* An empty object takes the member away. */
static void put_or_drop(json_t *doc, const char *key, json_t *value)
{
	if (json_object_size(value) || json_array_size(value))
		json_object_set_new(doc, key, value);
	else
		json_object_del(doc, key);
}

static json_t *filters_of(const struct lambda_filter_criteria *f)
{
	json_t *doc = json_object(), *list = json_array();

	for (size_t i = 0; f->filters && i < f->filters->count; i++) {
		const char *pattern = f->filters->items[i].pattern;

		json_array_append_new(
		    list, pattern ? json_pack("{s:s}", "Pattern", pattern) : json_object());
	}
	if (json_array_size(list))
		json_object_set(doc, "Filters", list);
	json_decref(list);
	return doc;
}

static json_t *destination_of(const struct lambda_destination_config *d)
{
	const char *failure = d->on_failure ? d->on_failure->destination : NULL;

	if (!failure || !failure[0])
		return json_object();
	return json_pack("{s:{s:s}}", "OnFailure", "Destination", failure);
}

static json_t *pollers_of(const struct lambda_provisioned_poller_config *p)
{
	json_t *doc = json_object();

	put_int(doc, "MinimumPollers", p->minimum_pollers);
	put_int(doc, "MaximumPollers", p->maximum_pollers);
	return doc;
}

static json_t *access_of(const struct lambda_source_access_configurations *a)
{
	json_t *list = json_array();

	for (size_t i = 0; i < a->count; i++) {
		json_t *one = json_object();

		doc_set_str(one, "Type", a->items[i].type);
		doc_set_str(one, "URI", a->items[i].uri);
		json_array_append_new(list, one);
	}
	return list;
}

static void merge_objects(json_t *doc, const struct esm_wanted *w)
{
	if (w->filter)
		put_or_drop(doc, "FilterCriteria", filters_of(w->filter));
	if (w->destination)
		put_or_drop(doc, "DestinationConfig", destination_of(w->destination));
	if (w->pollers)
		put_or_drop(doc, "ProvisionedPollerConfig", pollers_of(w->pollers));
	if (w->access)
		put_or_drop(doc, "SourceAccessConfigurations", access_of(w->access));
	if (w->scaling) {
		json_t *scaling = json_object();

		put_int(scaling, "MaximumConcurrency", w->scaling->maximum_concurrency);
		put_or_drop(doc, "ScalingConfig", scaling);
	}
	if (w->kafka && w->kafka->consumer_group_id)
		json_object_set_new(doc, "SelfManagedKafkaEventSourceConfig",
		    json_pack("{s:s}", "ConsumerGroupId", w->kafka->consumer_group_id));
}

void esm_merge(json_t *doc, const struct esm_wanted *w)
{
	put_int(doc, "BatchSize", w->batch_size);
	put_int(doc, "MaximumBatchingWindowInSeconds", w->window_s);
	put_int(doc, "MaximumRecordAgeInSeconds", w->record_age_s);
	put_int(doc, "MaximumRetryAttempts", w->retries);
	put_bool(doc, "BisectBatchOnFunctionError", w->bisect);
	put_bool(doc, "Enabled", w->enabled);
	if (w->response_types) {
		json_t *list = json_array();

		for (size_t i = 0; i < w->response_types->count; i++)
			json_array_append_new(list, json_string(w->response_types->items[i]));
		json_object_set_new(doc, "FunctionResponseTypes", list);
	}
	merge_objects(doc, w);
}

/* ---- answers ---- */

static const int64_t *number(struct call *c, const json_t *doc, const char *key)
{
	const json_t *v = json_object_get(doc, key);

	return json_is_integer(v) ? call_int(c, json_integer_value(v)) : NULL;
}

static size_t strings(struct call *c, const json_t *list, const char *const **ret)
{
	size_t n = json_array_size(list);
	const char **items = call_array(c, n + 1, const char *);

	for (size_t i = 0; i < n; i++)
		items[i] = call_str(c, json_string_value(json_array_get(list, i)));
	*ret = items;
	return n;
}

static const struct lambda_filter_criteria *filters(struct call *c, const json_t *doc)
{
	const json_t *list = json_object_get(json_object_get(doc, "FilterCriteria"), "Filters");
	struct lambda_filter_criteria *out = call_new(c, struct lambda_filter_criteria);
	struct lambda_filter_list *all = call_new(c, struct lambda_filter_list);
	struct lambda_filter *items =
	    call_array(c, json_array_size(list) + 1, struct lambda_filter);

	if (!json_array_size(list))
		return NULL;
	for (size_t i = 0; i < json_array_size(list); i++)
		items[i].pattern = call_str(c, doc_str(json_array_get(list, i), "Pattern"));
	all->count = json_array_size(list);
	all->items = items;
	out->filters = all;
	return out;
}

static const struct lambda_destination_config *destination(struct call *c, const json_t *doc)
{
	const json_t *failure =
	    json_object_get(json_object_get(doc, "DestinationConfig"), "OnFailure");
	struct lambda_destination_config *out = call_new(c, struct lambda_destination_config);
	struct lambda_on_failure *on = call_new(c, struct lambda_on_failure);

	if (!failure)
		return NULL;
	on->destination = call_str(c, doc_str(failure, "Destination"));
	out->on_failure = on;
	return out;
}

static const struct lambda_source_access_configurations *access(struct call *c, const json_t *doc)
{
	const json_t *list = json_object_get(doc, "SourceAccessConfigurations");
	size_t n = json_array_size(list);
	struct lambda_source_access_configurations *out =
	    call_new(c, struct lambda_source_access_configurations);
	struct lambda_source_access_configuration *items =
	    call_array(c, n + 1, struct lambda_source_access_configuration);

	if (!n)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		items[i].type = call_str(c, doc_str(json_array_get(list, i), "Type"));
		items[i].uri = call_str(c, doc_str(json_array_get(list, i), "URI"));
	}
	out->count = n;
	out->items = items;
	return out;
}

static void put_scaling(
    struct call *c, const json_t *doc, struct lambda_event_source_mapping_configuration *out)
{
	const json_t *scaling = json_object_get(doc, "ScalingConfig");
	const json_t *pollers = json_object_get(doc, "ProvisionedPollerConfig");

	if (scaling) {
		struct lambda_scaling_config *s = call_new(c, struct lambda_scaling_config);

		s->maximum_concurrency = number(c, scaling, "MaximumConcurrency");
		out->scaling_config = s;
	}
	if (pollers) {
		struct lambda_provisioned_poller_config *p =
		    call_new(c, struct lambda_provisioned_poller_config);

		p->minimum_pollers = number(c, pollers, "MinimumPollers");
		p->maximum_pollers = number(c, pollers, "MaximumPollers");
		out->provisioned_poller_config = p;
	}
}

/* Members of brokers only. */
static void put_broker(
    struct call *c, const json_t *doc, struct lambda_event_source_mapping_configuration *out)
{
	const json_t *servers = json_object_get(
	    json_object_get(json_object_get(doc, "SelfManagedEventSource"), "Endpoints"),
	    "KAFKA_BOOTSTRAP_SERVERS");
	const json_t *kafka = json_object_get(doc, "SelfManagedKafkaEventSourceConfig");

	if (json_object_get(doc, "Topics")) {
		struct lambda_topics *topics = call_new(c, struct lambda_topics);

		topics->count = strings(c, json_object_get(doc, "Topics"), &topics->items);
		out->topics = topics;
	}
	if (json_object_get(doc, "Queues")) {
		struct lambda_queues *queues = call_new(c, struct lambda_queues);

		queues->count = strings(c, json_object_get(doc, "Queues"), &queues->items);
		out->queues = queues;
	}
	if (servers) {
		struct lambda_self_managed_event_source *self =
		    call_new(c, struct lambda_self_managed_event_source);
		struct lambda_endpoints *endpoints = call_new(c, struct lambda_endpoints);
		struct lambda_endpoints_entry *entry = call_new(c, struct lambda_endpoints_entry);

		entry->value.count = strings(c, servers, &entry->value.items);
		entry->key = "KAFKA_BOOTSTRAP_SERVERS";
		endpoints->count = 1;
		endpoints->entries = entry;
		self->endpoints = endpoints;
		out->self_managed_event_source = self;
	}
	if (kafka) {
		struct lambda_self_managed_kafka_event_source_config *k =
		    call_new(c, struct lambda_self_managed_kafka_event_source_config);

		k->consumer_group_id = call_str(c, doc_str(kafka, "ConsumerGroupId"));
		out->self_managed_kafka_event_source_config = k;
	}
}

void esm_describe(struct call *c, const struct source_mapping *m,
    struct lambda_event_source_mapping_configuration *out)
{
	const json_t *doc = source_doc(m);
	struct lambda_function_response_type_list *types =
	    call_new(c, struct lambda_function_response_type_list);
	const char *uuid = call_str(c, doc_str(doc, "UUID"));

	types->count = strings(c, json_object_get(doc, "FunctionResponseTypes"), &types->items);
	*out = (struct lambda_event_source_mapping_configuration){
	    .uuid = uuid,
	    .event_source_mapping_arn = call_printf(
		c, "arn:aws:lambda:%s:%s:event-source-mapping:%s", c->region, c->account, uuid),
	    .function_arn = call_str(c, doc_str(doc, "FunctionArn")),
	    .event_source_arn = call_str(c, doc_str(doc, "EventSourceArn")),
	    .batch_size = number(c, doc, "BatchSize"),
	    .maximum_batching_window_in_seconds = number(c, doc, "MaximumBatchingWindowInSeconds"),
	    .maximum_record_age_in_seconds = number(c, doc, "MaximumRecordAgeInSeconds"),
	    .maximum_retry_attempts = number(c, doc, "MaximumRetryAttempts"),
	    .starting_position = call_str(c, doc_str(doc, "StartingPosition")),
	    .starting_position_timestamp = number(c, doc, "StartingPositionTimestamp"),
	    .function_response_types = types,
	    .filter_criteria = filters(c, doc),
	    .destination_config = destination(c, doc),
	    .source_access_configurations = access(c, doc),
	    .last_modified = number(c, doc, "LastModified"),
	    .last_processing_result = call_str(c, source_last_result(m)),
	    .state = source_state_name(source_state(m)),
	    .state_transition_reason = source_reason(m),
	};
	if (json_object_get(doc, "BisectBatchOnFunctionError"))
		out->bisect_batch_on_function_error =
		    call_bool(c, json_is_true(json_object_get(doc, "BisectBatchOnFunctionError")));
	put_scaling(c, doc, out);
	put_broker(c, doc, out);
}
