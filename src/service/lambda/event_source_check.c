/* What event source mappings may ask for, in AWS's words. Loop thread. */
#include "service/lambda/event_source_int.h"

static int refuse(struct err *e, const char *text)
{
	return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "%s", text);
}

static int unsupported(struct err *e, const char *member)
{
	return fail(e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION,
	    "Unsupported %s parameter for given event source mapping type.", member);
}

/* ---- members that do not go with a kind, or with this server ---- */

static int check_sqs_members(const struct esm_wanted *w, struct err *e)
{
	const struct {
		const void *given;
		const char *name;
	} members[] = {
	    {w->record_age_s, "MaximumRecordAgeInSeconds"},
	    {w->retries, "MaximumRetryAttempts"},
	    {w->bisect, "BisectBatchOnFunctionError"},
	    {w->destination && w->destination->on_failure ? w->destination : NULL,
		"DestinationConfig"},
	    {w->kafka, "SelfManagedKafkaEventSourceConfig"},
	    {w->access && w->access->count ? w->access : NULL, "SourceAccessConfigurations"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (members[i].given)
			return unsupported(e, members[i].name);
	return 0;
}

static int check_broker_members(const char *kind, const struct esm_wanted *w, struct err *e)
{
	if (w->scaling && w->scaling->maximum_concurrency)
		return unsupported(e, "ScalingConfig");
	if (w->pollers)
		return refuse(e,
		    "Provisioned pollers of brokers are not supported by this server: leave "
		    "ProvisionedPollerConfig out.");
	if (strcmp(kind, "rabbitmq") != 0) {
		if (w->kafka && w->kafka->schema_registry_config)
			return refuse(e,
			    "Schema registries are not supported by this server: leave "
			    "SchemaRegistryConfig out.");
		return 0;
	}
	if (w->record_age_s || w->retries || w->bisect)
		return unsupported(e, w->record_age_s ? "MaximumRecordAgeInSeconds"
				      : w->retries    ? "MaximumRetryAttempts"
						      : "BisectBatchOnFunctionError");
	if (w->kafka)
		return unsupported(e, "SelfManagedKafkaEventSourceConfig");
	if (w->destination && w->destination->on_failure)
		return unsupported(e, "DestinationConfig");
	return w->response_types && w->response_types->count
		   ? unsupported(e, "FunctionResponseTypes")
		   : 0;
}

int esm_check_wanted(const char *kind, const struct esm_wanted *w, struct err *e)
{
	if (w->tumbling_s && *w->tumbling_s)
		return unsupported(e, "TumblingWindowInSeconds");
	if (w->parallelization)
		return unsupported(e, "ParallelizationFactor");
	if (w->managed_kafka || w->document_db)
		return unsupported(e, w->document_db ? "DocumentDBEventSourceConfig"
						     : "AmazonManagedKafkaEventSourceConfig");
	if (w->kms_key_arn && w->kms_key_arn[0])
		return refuse(e, "Customer keys are not supported by this server: leave KMSKeyArn "
				 "out.");
	if (w->logging || w->metrics)
		return refuse(e,
		    "Logs and metrics of event source mappings are not supported by this server: "
		    "leave LoggingConfig and MetricsConfig out, and see LastProcessingResult.");
	if (w->destination && w->destination->on_success && w->destination->on_success->destination)
		return refuse(e, "Event source mappings have no OnSuccess destination: leave it "
				 "out.");
	return strcmp(kind, "sqs") == 0 ? check_sqs_members(w, e)
					: check_broker_members(kind, w, e);
}

/* ---- the whole ---- */

static int check_sqs(const json_t *doc, struct err *e)
{
	bool fifo = str_has_suffix(str_from(doc_str(doc, "EventSourceArn")), ".fifo");
	int64_t size = doc_int(doc, "BatchSize", 0);
	int64_t window = doc_int(doc, "MaximumBatchingWindowInSeconds", 0);

	if (fifo && window)
		return refuse(e, "Batching window is not supported for FIFO queues");
	if (fifo && size > 10)
		return refuse(e, "Maximum batch size for FIFO queues is 10: give a smaller "
				 "BatchSize.");
	if (size > 10 && !window)
		return refuse(e,
		    "Maximum batch window in seconds must be greater than 0 if maximum "
		    "batch size is greater than 10");
	return 0;
}

static int check_pollers(const json_t *doc, struct err *e)
{
	const json_t *p = json_object_get(doc, "ProvisionedPollerConfig");
	int64_t min = doc_int(p, "MinimumPollers", 2), max = doc_int(p, "MaximumPollers", 200);

	if (!p)
		return 0;
	if (json_object_get(doc, "ScalingConfig"))
		return refuse(e, "ScalingConfig and ProvisionedPollerConfig cannot be used "
				 "together: leave one of them out.");
	if (min < 2 || max < 2 || min > max)
		return refuse(e,
		    "MinimumPollers is 2 to 200, MaximumPollers 2 to 2000 and not less "
		    "than MinimumPollers.");
	return 0;
}

static int check_kafka(const json_t *doc, struct err *e)
{
	if (!json_array_size(json_object_get(doc, "Topics")))
		return refuse(e, "Topics must be provided for a Kafka event source.");
	if (!doc_str(doc, "StartingPosition"))
		return fail(e, AWS_VALIDATION,
		    "1 validation error detected: Value null at 'startingPosition' failed to "
		    "satisfy constraint: Member must not be null.");
	if (strcmp(doc_str(doc, "StartingPosition"), "AT_TIMESTAMP") == 0 &&
	    !json_object_get(doc, "StartingPositionTimestamp"))
		return refuse(e, "StartingPositionTimestamp must be provided when StartingPosition "
				 "is AT_TIMESTAMP.");
	if (json_object_get(doc, "EventSourceArn"))
		return refuse(e, "Give either EventSourceArn or SelfManagedEventSource, not both.");
	return 0;
}

static int check_rabbitmq(const json_t *doc, struct err *e)
{
	if (!json_array_size(json_object_get(doc, "Queues")))
		return refuse(e, "Queues must be provided for an Amazon MQ event source.");
	return 0;
}

int esm_check(struct call *c, const char *kind, const json_t *doc, struct err *e)
{
	struct err why = ERR_INIT;
	int r;

	if (source_check_filter(doc, &why) < 0)
		return call_fail(c, e, LAMBDA_INVALID_PARAMETER_VALUE_EXCEPTION, "%s", why.msg);
	r = check_pollers(doc, e);
	if (r < 0)
		return r;
	if (strcmp(kind, "sqs") == 0) {
		if (doc_str(doc, "StartingPosition"))
			return unsupported(e, "StartingPosition");
		if (json_object_get(doc, "Topics") || json_object_get(doc, "Queues"))
			return unsupported(e, json_object_get(doc, "Topics") ? "Topics" : "Queues");
		return check_sqs(doc, e);
	}
	return strcmp(kind, "kafka") == 0 ? check_kafka(doc, e) : check_rabbitmq(doc, e);
}
