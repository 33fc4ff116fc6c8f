/*
 * The policies that AWS keeps for everybody and that tutorials attach. Names, paths and ARNs are
 * AWS's; the documents grant the same services and are this server's own, in their first version.
 */
#include "service/iam/iam_int.h"

#include <openssl/sha.h>

#define CREATED_MS INT64_C(1423248058000) /* 2015-02-06T18:40:58Z, the birthday of most */

#define LOGS_WRITE "\"logs:CreateLogGroup\",\"logs:CreateLogStream\",\"logs:PutLogEvents\""
#define NETWORK_INTERFACES                                                  \
	"\"ec2:CreateNetworkInterface\",\"ec2:DescribeNetworkInterfaces\"," \
	"\"ec2:DescribeSubnets\",\"ec2:DeleteNetworkInterface\","           \
	"\"ec2:AssignPrivateIpAddresses\",\"ec2:UnassignPrivateIpAddresses\""

struct managed {
	const char *path, *name;
	const char *actions; /* allowed on everything; JSON strings with commas between */
};

static const struct managed policies[] = {
    {"/", "AdministratorAccess", "\"*\""},
    {"/", "PowerUserAccess", NULL},
    {"/", "ReadOnlyAccess",
	"\"s3:Get*\",\"s3:List*\",\"lambda:Get*\",\"lambda:List*\",\"logs:Describe*\",\"logs:Get*"
	"\","
	"\"logs:List*\",\"logs:FilterLogEvents\",\"sqs:Get*\",\"sqs:List*\",\"sns:Get*\","
	"\"sns:List*\",\"dynamodb:Describe*\",\"dynamodb:Get*\",\"dynamodb:List*\","
	"\"dynamodb:Query\",\"dynamodb:Scan\",\"ecs:Describe*\",\"ecs:List*\",\"ecr:Describe*\","
	"\"ecr:Get*\",\"ecr:List*\",\"iam:Get*\",\"iam:List*\",\"events:Describe*\","
	"\"events:List*\",\"scheduler:Get*\",\"scheduler:List*\",\"cloudwatch:Describe*\","
	"\"cloudwatch:Get*\",\"cloudwatch:List*\""},
    {"/", "IAMFullAccess", "\"iam:*\""},
    {"/", "IAMReadOnlyAccess", "\"iam:Generate*\",\"iam:Get*\",\"iam:List*\",\"iam:Simulate*\""},
    {"/", "AWSLambda_FullAccess",
	"\"lambda:*\",\"logs:DescribeLogGroups\",\"iam:GetPolicy\",\"iam:GetPolicyVersion\","
	"\"iam:GetRole\",\"iam:GetRolePolicy\",\"iam:ListAttachedRolePolicies\","
	"\"iam:ListRolePolicies\",\"iam:ListRoles\",\"iam:PassRole\",\"tag:GetResources\""},
    {"/", "AWSLambda_ReadOnlyAccess",
	"\"lambda:Get*\",\"lambda:List*\",\"logs:DescribeLogGroups\",\"iam:ListRoles\""},
    {"/", "AWSLambdaInvocation-DynamoDB",
	"\"lambda:InvokeFunction\",\"dynamodb:DescribeStream\",\"dynamodb:GetRecords\","
	"\"dynamodb:GetShardIterator\",\"dynamodb:ListStreams\""},
    {"/", "AmazonS3FullAccess", "\"s3:*\",\"s3-object-lambda:*\""},
    {"/", "AmazonS3ReadOnlyAccess",
	"\"s3:Get*\",\"s3:List*\",\"s3:Describe*\",\"s3-object-lambda:Get*\","
	"\"s3-object-lambda:List*\""},
    {"/", "AmazonSQSFullAccess", "\"sqs:*\""},
    {"/", "AmazonSQSReadOnlyAccess",
	"\"sqs:GetQueueAttributes\",\"sqs:GetQueueUrl\",\"sqs:ListDeadLetterSourceQueues\","
	"\"sqs:ListQueues\",\"sqs:ListMessageMoveTasks\",\"sqs:ListQueueTags\""},
    {"/", "AmazonSNSFullAccess", "\"sns:*\""},
    {"/", "AmazonSNSReadOnlyAccess", "\"sns:Get*\",\"sns:List*\""},
    {"/", "AmazonDynamoDBFullAccess", "\"dynamodb:*\",\"dax:*\""},
    {"/", "AmazonDynamoDBReadOnlyAccess",
	"\"dynamodb:BatchGetItem\",\"dynamodb:Describe*\",\"dynamodb:GetItem\","
	"\"dynamodb:List*\",\"dynamodb:Query\",\"dynamodb:Scan\",\"dynamodb:PartiQLSelect\""},
    {"/", "AmazonKinesisFullAccess", "\"kinesis:*\""},
    {"/", "AmazonKinesisReadOnlyAccess",
	"\"kinesis:Get*\",\"kinesis:List*\",\"kinesis:Describe*\""},
    {"/", "AmazonEventBridgeFullAccess", "\"events:*\",\"schemas:*\",\"scheduler:*\",\"pipes:*\""},
    {"/", "AmazonEventBridgeReadOnlyAccess",
	"\"events:Describe*\",\"events:List*\",\"events:TestEventPattern\",\"scheduler:Get*\","
	"\"scheduler:List*\""},
    {"/", "AmazonEventBridgeSchedulerFullAccess", "\"scheduler:*\""},
    {"/", "AWSStepFunctionsFullAccess", "\"states:*\""},
    {"/", "CloudWatchFullAccess", "\"cloudwatch:*\",\"logs:*\",\"autoscaling:Describe*\""},
    {"/", "CloudWatchReadOnlyAccess",
	"\"cloudwatch:Describe*\",\"cloudwatch:Get*\",\"cloudwatch:List*\",\"logs:Describe*\","
	"\"logs:Get*\",\"logs:List*\",\"logs:FilterLogEvents\""},
    {"/", "CloudWatchLogsFullAccess", "\"logs:*\",\"cloudwatch:GenerateQuery\""},
    {"/", "CloudWatchLogsReadOnlyAccess",
	"\"logs:Describe*\",\"logs:Get*\",\"logs:List*\",\"logs:StartQuery\",\"logs:StopQuery\","
	"\"logs:TestMetricFilter\",\"logs:FilterLogEvents\",\"logs:StartLiveTail\","
	"\"logs:StopLiveTail\""},
    {"/", "CloudWatchLambdaInsightsExecutionRolePolicy", LOGS_WRITE},
    {"/", "AWSXRayDaemonWriteAccess",
	"\"xray:PutTraceSegments\",\"xray:PutTelemetryRecords\",\"xray:GetSamplingRules\","
	"\"xray:GetSamplingTargets\",\"xray:GetSamplingStatisticSummaries\""},
    {"/", "AWSXrayWriteOnlyAccess",
	"\"xray:PutTraceSegments\",\"xray:PutTelemetryRecords\",\"xray:GetSamplingRules\","
	"\"xray:GetSamplingTargets\",\"xray:GetSamplingStatisticSummaries\""},
    {"/", "AmazonECS_FullAccess", "\"ecs:*\",\"ecr:*\",\"logs:*\",\"iam:ListRoles\""},
    {"/", "AmazonEC2ContainerRegistryFullAccess", "\"ecr:*\""},
    {"/", "AmazonEC2ContainerRegistryPowerUser",
	"\"ecr:GetAuthorizationToken\",\"ecr:BatchCheckLayerAvailability\","
	"\"ecr:GetDownloadUrlForLayer\",\"ecr:BatchGetImage\",\"ecr:Describe*\",\"ecr:List*\","
	"\"ecr:GetRepositoryPolicy\",\"ecr:InitiateLayerUpload\",\"ecr:UploadLayerPart\","
	"\"ecr:CompleteLayerUpload\",\"ecr:PutImage\""},
    {"/", "AmazonEC2ContainerRegistryReadOnly",
	"\"ecr:GetAuthorizationToken\",\"ecr:BatchCheckLayerAvailability\","
	"\"ecr:GetDownloadUrlForLayer\",\"ecr:BatchGetImage\",\"ecr:Describe*\",\"ecr:List*\","
	"\"ecr:GetRepositoryPolicy\""},
    {"/", "SecretsManagerReadWrite", "\"secretsmanager:*\",\"kms:Describe*\",\"kms:List*\""},
    {"/", "AmazonSSMReadOnlyAccess", "\"ssm:Describe*\",\"ssm:Get*\",\"ssm:List*\""},
    {"/", "AmazonSSMFullAccess", "\"ssm:*\""},
    {"/", "AmazonAPIGatewayInvokeFullAccess", "\"execute-api:Invoke\""},
    {"/service-role/", "AWSLambdaBasicExecutionRole", LOGS_WRITE},
    {"/service-role/", "AWSLambdaRole", "\"lambda:InvokeFunction\""},
    {"/service-role/", "AWSLambdaVPCAccessExecutionRole", LOGS_WRITE "," NETWORK_INTERFACES},
    {"/service-role/", "AWSLambdaENIManagementAccess", NETWORK_INTERFACES},
    {"/service-role/", "AWSLambdaSQSQueueExecutionRole",
	"\"sqs:ReceiveMessage\",\"sqs:DeleteMessage\",\"sqs:GetQueueAttributes\"," LOGS_WRITE},
    {"/service-role/", "AWSLambdaDynamoDBExecutionRole",
	"\"dynamodb:DescribeStream\",\"dynamodb:GetRecords\",\"dynamodb:GetShardIterator\","
	"\"dynamodb:ListStreams\"," LOGS_WRITE},
    {"/service-role/", "AWSLambdaKinesisExecutionRole",
	"\"kinesis:DescribeStream\",\"kinesis:DescribeStreamSummary\",\"kinesis:GetRecords\","
	"\"kinesis:GetShardIterator\",\"kinesis:ListShards\",\"kinesis:ListStreams\","
	"\"kinesis:SubscribeToShard\"," LOGS_WRITE},
    {"/service-role/", "AWSLambdaMSKExecutionRole",
	"\"kafka:DescribeCluster\",\"kafka:DescribeClusterV2\",\"kafka:GetBootstrapBrokers\","
	"\"ec2:DescribeVpcs\",\"ec2:DescribeSecurityGroups\"," LOGS_WRITE "," NETWORK_INTERFACES},
    {"/service-role/", "AmazonS3ObjectLambdaExecutionRolePolicy",
	"\"s3-object-lambda:WriteGetObjectResponse\"," LOGS_WRITE},
    {"/service-role/", "AmazonECSTaskExecutionRolePolicy",
	"\"ecr:GetAuthorizationToken\",\"ecr:BatchCheckLayerAvailability\","
	"\"ecr:GetDownloadUrlForLayer\",\"ecr:BatchGetImage\",\"logs:CreateLogStream\","
	"\"logs:PutLogEvents\""},
    {"/service-role/", "AmazonAPIGatewayPushToCloudWatchLogs",
	LOGS_WRITE ",\"logs:DescribeLogGroups\",\"logs:DescribeLogStreams\","
		   "\"logs:GetLogEvents\",\"logs:FilterLogEvents\""},
};

static char *document(const struct managed *p)
{
	if (!p->actions) /* PowerUserAccess is the one that is told by what it leaves out */
		return xstrdup("{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
			       "\"NotAction\":[\"iam:*\",\"organizations:*\",\"account:*\"],"
			       "\"Resource\":\"*\"}]}");
	return xasprintf("{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
			 "\"Action\":[%s],\"Resource\":\"*\"}]}",
	    p->actions);
}

/* The same on every installation: made of the name. */
static void set_id(json_t *doc, const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned char hash[SHA256_DIGEST_LENGTH];
	char id[ENTITY_ID_SIZE] = "ANPA";

	SHA256((const unsigned char *)name, strlen(name), hash);
	for (size_t i = 4; i < sizeof(id) - 1; i++)
		id[i] = letters[hash[i] % 32];
	id[sizeof(id) - 1] = '\0';
	doc_set(doc, "id", id);
}

static void load(struct iam *m, const struct managed *p)
{
	_cleanup_free_ char *text = document(p);
	json_t *doc = json_object(), *versions = json_array(), *version = json_object();

	doc_place(doc, ENTITY_POLICY, "aws", p->name, p->path);
	set_id(doc, p->name);
	iam_doc_set_int(doc, "created", CREATED_MS);
	iam_doc_set_int(doc, "updated", CREATED_MS);
	doc_set(doc, "default", "v1");
	doc_set(version, "id", "v1");
	doc_set(version, "document", text);
	iam_doc_set_int(version, "created", CREATED_MS);
	json_array_append_new(versions, version);
	json_object_set_new(doc, "versions", versions);
	change_loaded(m, table_add(m, ENTITY_POLICY, "aws", p->name), doc, 0);
}

void managed_load(struct iam *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		load(m, &policies[i]);
}
