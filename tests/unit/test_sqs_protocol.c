/* One service by two protocols: SQS as json 1.0 for today's clients, as query for older ones. The
 * handlers are defined here as a service would. */
#include "unit.h"

#undef fail /* of cmocka; ours is in aws.h */

#include "aws_rig.h"

#include "aws/aws_tables.h"
#include "gen/sqs.h"
#include "gen/sts.h"

#define FORM "Host: h:1\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\n"
#define ANSWER(op, result)                                                             \
	"<" op "Response xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">" result \
	"<ResponseMetadata><RequestId>"

static char seen[1024];

static void json(const char *op, const char *text)
{
	char line[128];

	snprintf(line, sizeof(line),
	    "X-Amz-Target: AmazonSQS.%s\nContent-Type: application/x-amz-json-1.0\n", op);
	send("POST", "/", line, str_from(text));
}

static void expect(unsigned status, const char *start)
{
	assert_int_equal(answer.replies, 1);
	if (strncmp(buf_data(&answer.body), start, strlen(start)))
		assert_string_equal(buf_data(&answer.body), start);
	assert_int_equal(answer.status, status);
}

int sqs_send_message(struct call *c, const struct sqs_send_message_in *in,
    struct sqs_send_message_out *out, struct err *e)
{
	const struct sqs_message_body_attribute_map *m = in->message_attributes;

	if (strcmp(in->message_body, "lost") == 0)
		return fail(e, SQS_QUEUE_DOES_NOT_EXIST, "The specified queue does not exist.");
	snprintf(seen, sizeof(seen), "%s %s %" PRId64 " %s=%s %.*s %s", in->queue_url,
	    in->message_body, in->delay_seconds ? *in->delay_seconds : -1,
	    m ? m->entries[0].key : "", m ? m->entries[0].value.string_value : "",
	    m && m->count > 1 ? (int)m->entries[1].value.binary_value->len : 0,
	    m && m->count > 1 ? m->entries[1].value.binary_value->ptr : "",
	    m && m->entries[0].value.string_list_values
		? m->entries[0].value.string_list_values->items[1]
		: "");
	out->message_id = call_str(c, "id");
	return 0;
}

int sqs_send_message_batch(struct call *c, const struct sqs_send_message_batch_in *in,
    struct sqs_send_message_batch_out *out, struct err *e)
{
	struct sqs_send_message_batch_result_entry_list *done =
	    call_new(c, struct sqs_send_message_batch_result_entry_list);
	struct sqs_batch_result_error_entry_list *failed =
	    call_new(c, struct sqs_batch_result_error_entry_list);
	struct sqs_send_message_batch_result_entry *d =
	    call_array(c, in->entries->count, struct sqs_send_message_batch_result_entry);

	(void)e;
	for (size_t i = 0; i < in->entries->count; i++)
		d[i].id = in->entries->items[i].id;
	done->items = d;
	done->count = in->entries->count;
	out->successful = done;
	out->failed = failed;
	return 0;
}

int sqs_receive_message(struct call *c, const struct sqs_receive_message_in *in,
    struct sqs_receive_message_out *out, struct err *e)
{
	struct sqs_message *m = call_new(c, struct sqs_message);
	struct sqs_message_list *list = call_new(c, struct sqs_message_list);
	struct sqs_message_system_attribute_map *a =
	    call_new(c, struct sqs_message_system_attribute_map);
	struct sqs_message_system_attribute_map_entry *entry =
	    call_new(c, struct sqs_message_system_attribute_map_entry);

	(void)e;
	snprintf(seen, sizeof(seen), "%s %s",
	    in->attribute_names ? in->attribute_names->items[0] : "",
	    in->message_attribute_names ? in->message_attribute_names->items[1] : "");
	entry->key = "SenderId";
	entry->value = "me";
	a->entries = entry;
	a->count = 1;
	m->body = "<b>";
	m->attributes = a;
	list->items = m;
	list->count = 1;
	out->messages = list;
	return 0;
}

int sqs_create_queue(struct call *c, const struct sqs_create_queue_in *in,
    struct sqs_create_queue_out *out, struct err *e)
{
	(void)e;
	snprintf(seen, sizeof(seen), "%s %s=%s %s=%s", in->queue_name,
	    in->attributes->entries[0].key, in->attributes->entries[0].value,
	    in->tags->entries[1].key, in->tags->entries[1].value);
	out->queue_url = call_printf(c, "http://h/%s/%s", c->account, in->queue_name);
	return 0;
}

int sqs_delete_queue(struct call *c, const struct sqs_delete_queue_in *in,
    struct sqs_delete_queue_out *out, struct err *e)
{
	(void)c;
	(void)out;
	(void)e;
	snprintf(seen, sizeof(seen), "%s", in->queue_url);
	return 0;
}

static void the_tables_are_sound(void **state)
{
	(void)state;
	assert_int_equal(aws_tables_check(&sqs_service), 0);
}

static void todays_clients_speak_json(void **state)
{
	(void)state;
	json("SendMessage", "{\"QueueUrl\":\"u\",\"MessageBody\":\"m\",\"DelaySeconds\":3,"
			    "\"MessageAttributes\":{\"a\":{\"DataType\":\"String\",\"StringValue\":"
			    "\"v\"},\"b\":{\"DataType\":\"Binary\",\"BinaryValue\":\"Ynk=\"}}}");
	expect(200, "{\"MessageId\":\"id\"}");
	assert_string_equal(seen, "u m 3 a=v by ");
	assert_string_equal(answer_header("Content-Type"), "application/x-amz-json-1.0");
	json("ReceiveMessage", "{\"QueueUrl\":\"u\",\"AttributeNames\":[\"SenderId\"],"
			       "\"MessageAttributeNames\":[\"a\",\"b.*\"]}");
	expect(200, "{\"Messages\":[{\"Attributes\":{\"SenderId\":\"me\"},\"Body\":\"<b>\"}]}");
	assert_string_equal(seen, "SenderId b.*");
	json("DeleteQueue", "{\"QueueUrl\":\"u\"}");
	expect(200, "");
}

static void json_errors_carry_the_old_code_too(void **state)
{
	(void)state;
	json("SendMessage", "{\"QueueUrl\":\"u\",\"MessageBody\":\"lost\"}");
	expect(400,
	    "{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"The specified "
	    "queue does not exist.\"}");
	assert_string_equal(
	    answer_header("x-amzn-query-error"), "AWS.SimpleQueueService.NonExistentQueue;Sender");
	json("SendMessage", "{\"QueueUrl\":\"u\"}");
	expect(400,
	    "{\"__type\":\"com.amazonaws.sqs#MissingParameter\",\"message\":\"The request must "
	    "contain the parameter MessageBody.\"}");
	json("SendMessage", "{\"QueueUrl\":1}");
	expect(400, "{\"__type\":\"com.amazon.coral.service#SerializationException\"");
	json("Nonsense", "{}");
	expect(400, "{\"__type\":\"com.amazon.coral.service#UnknownOperationException\"");
}

static void older_clients_speak_query(void **state)
{
	(void)state;
	send("POST", "/", FORM,
	    STR("Action=SendMessage&Version=2012-11-05&QueueUrl=u&MessageBody=m&DelaySeconds=3"
		"&MessageAttribute.1.Name=a&MessageAttribute.1.Value.DataType=String"
		"&MessageAttribute.1.Value.StringValue=v"
		"&MessageAttribute.1.Value.StringListValue.1=x"
		"&MessageAttribute.1.Value.StringListValue.2=y"
		"&MessageAttribute.2.Name=b&MessageAttribute.2.Value.DataType=Binary"
		"&MessageAttribute.2.Value.BinaryValue=Ynk%3D"));
	expect(200, ANSWER("SendMessage", "<SendMessageResult><MessageId>id</MessageId>"
					  "</SendMessageResult>"));
	assert_string_equal(seen, "u m 3 a=v by y");
	assert_string_equal(answer_header("Content-Type"), "text/xml");
	send("POST", "/", FORM,
	    STR("Action=ReceiveMessage&Version=2012-11-05&QueueUrl=u&AttributeName.1=All"
		"&MessageAttributeName.1=a&MessageAttributeName.2=b"));
	expect(200, ANSWER("ReceiveMessage",
			"<ReceiveMessageResult><Message><Attribute><Name>SenderId</Name><Value>me"
			"</Value></Attribute><Body>&lt;b&gt;</Body></Message>"
			"</ReceiveMessageResult>"));
	assert_string_equal(seen, "All b");
	send("POST", "/", FORM,
	    STR("Action=CreateQueue&Version=2012-11-05&QueueName=q&Attribute.1.Name=DelaySeconds"
		"&Attribute.1.Value=5&Tag.1.Key=k&Tag.1.Value=v&Tag.2.Key=l&Tag.2.Value=w"));
	expect(200, ANSWER("CreateQueue", "<CreateQueueResult><QueueUrl>http://h/123456789012/q"
					  "</QueueUrl></CreateQueueResult>"));
	assert_string_equal(seen, "q DelaySeconds=5 l=w");
	send("POST", "/", FORM,
	    STR("Action=SendMessageBatch&Version=2012-11-05&QueueUrl=u"
		"&SendMessageBatchRequestEntry.1.Id=1&SendMessageBatchRequestEntry.1.MessageBody=a"
		"&SendMessageBatchRequestEntry.2.Id=2&SendMessageBatchRequestEntry.2.MessageBody="
		"b"));
	expect(200, ANSWER("SendMessageBatch",
			"<SendMessageBatchResult><SendMessageBatchResultEntry><Id>1</Id>"
			"</SendMessageBatchResultEntry><SendMessageBatchResultEntry><Id>2</Id>"
			"</SendMessageBatchResultEntry></SendMessageBatchResult>"));
	send("POST", "/", FORM,
	    STR("Action=SendMessage&Version=2012-11-05&QueueUrl=u&MessageBody=lost"));
	expect(400, "<ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error>"
		    "<Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code>");
	send("POST", "/", FORM, STR("Action=SendMessage&Version=2012-11-05&QueueUrl=u"));
	expect(400, "<ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error>"
		    "<Type>Sender</Type><Code>MissingParameter</Code>");
}

static void a_queue_has_an_address_of_its_own(void **state)
{
	(void)state;
	send("POST", "/123456789012/q", FORM, STR("Action=DeleteQueue&Version=2012-11-05"));
	expect(200, ANSWER("DeleteQueue", ""));
	assert_string_equal(seen, "http://h:1/123456789012/q");
	send("GET", "/123456789012/q?Action=SendMessage&Version=2012-11-05&MessageBody=a%20b",
	    "Host: h:1\n", STR(""));
	expect(200, ANSWER("SendMessage", "<SendMessageResult><MessageId>id</MessageId>"
					  "</SendMessageResult>"));
	assert_string_equal(seen, "http://h:1/123456789012/q a b -1 =  ");
	send("POST", "/123456789012/q", FORM,
	    STR("Action=DeleteQueue&Version=2012-11-05&QueueUrl=other"));
	assert_string_equal(seen, "other");
}

static int setup(void **state)
{
	static const struct aws_config config = {
	    .dev = true, .account = "123456789012", .region = "us-east-1"};

	(void)state;
	start_engine(&config);
	aws_service_add(aws, &sts_service, NULL);
	aws_service_add(aws, &sqs_service, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop_engine();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_tables_are_sound),
	    cmocka_unit_test(todays_clients_speak_json),
	    cmocka_unit_test(json_errors_carry_the_old_code_too),
	    cmocka_unit_test(older_clients_speak_query),
	    cmocka_unit_test(a_queue_has_an_address_of_its_own),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
