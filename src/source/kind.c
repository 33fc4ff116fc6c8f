/* The kinds of sources there are: a new one is named here. Loop thread. */
#include "source/source_int.h"

static const struct source_ops *const kinds[] = {
    &sqs_source,
#ifdef MAYFLY_KAFKA
    &kafka_source,
#endif
#ifdef MAYFLY_RABBITMQ
    &rabbitmq_source,
#endif
};

const struct source_ops *source_kind_find(const json_t *doc)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i]->claims(doc))
			return kinds[i];
	return NULL;
}

/* arn:aws:SERVICE:… */
static struct str service_of(const json_t *doc)
{
	struct str rest = str_from(json_string_value(json_object_get(doc, "EventSourceArn"))),
		   service = STR_NULL;

	for (int i = 0; i < 3 && rest.ptr; i++)
		service = str_cut(&rest, ':');
	return service;
}

const char *source_kind(const json_t *doc, struct err *e)
{
	const struct source_ops *ops = source_kind_find(doc);
	struct str service = service_of(doc);

	if (ops)
		return ops->name;
	if (json_object_get(doc, "SelfManagedEventSource"))
		err_set(e, ENOTSUP,
		    "This server was built without Kafka: install librdkafka-dev and build it "
		    "again, or "
		    "use an SQS queue.");
	else if (str_is(service, "mq"))
		err_set(e, ENOTSUP,
		    "This server was built without RabbitMQ: install librabbitmq-dev and build it "
		    "again, or use an SQS queue.");
	else if (str_is(service, "kafka"))
		err_set(e, ENOTSUP,
		    "Amazon MSK is not supported by this server: name the brokers in "
		    "SelfManagedEventSource.");
	else if (service.len)
		err_set(e, ENOTSUP,
		    "Event sources of service %.*s are not supported by this server: use an SQS "
		    "queue.",
		    (int)min_size(service.len, 40), service.ptr);
	else
		err_set(e, EINVAL, "Unrecognized event source.");
	return NULL;
}

int source_check(struct sources *s, const json_t *doc, int64_t function_timeout_ms, struct err *e)
{
	return source_kind_find(doc)->verify(s, doc, function_timeout_ms, e);
}

int source_check_filter(const json_t *doc, struct err *e)
{
	const json_t *list = json_object_get(json_object_get(doc, "FilterCriteria"), "Filters");
	struct filter *f;

	e->msg[0] = 0;
	f = filter_new(list, &source_kind_find(doc)->data, e);
	filter_free(f);
	return e->msg[0] ? -EINVAL : 0;
}
