// An osls plugin. It corrects the API resources that osls generates. On stages that shift traffic gradually, it makes triggers
// invoke an alias of each function. CodeDeploy shifts the alias to a new version, and rolls it back if the new version fails:
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html

const { pascalCase, shiftsTraffic } = require("./serverless.resources.cjs");

const DEPLOYMENT = "AWS::ApiGateway::Deployment";

module.exports = class Plugin {
  constructor(serverless) {
    const { service } = serverless;
    this.hooks = {
      "before:package:compileFunctions": () => addTrafficShifting(service, serverless.getProvider("aws")),
      "before:package:finalize": () => {
        const { compiledCloudFormationTemplate, tracing } = service.provider;
        const { Resources } = compiledCloudFormationTemplate;
        removeSharedRoleDependency(Resources);
        if (Resources.ApiGatewayRestApi) separateApiStage(Resources, service, tracing?.apiGateway === true);
        else removeDeployments(Resources);
      },
    };
  }
};

function addTrafficShifting({ functions, custom, provider }, aws) {
  const { traffic } = custom.stage;
  if (!shiftsTraffic(traffic)) return;
  const { Resources } = provider.compiledCloudFormationTemplate;
  const { iamGlobalPermissionsBoundary: boundary } = custom["serverless-iam-roles-per-function"];
  Object.assign(
    Resources,
    codeDeployResources(aws.naming.getStackName(), `scratchpad-${aws.getStage()}-${custom.unit}-traffic`, boundary),
  );
  for (const [name, settings] of Object.entries(functions)) {
    // osls reads the alias of a function from here: its event sources and invoke permissions then refer to the alias.
    settings.targetAlias = { name: "live", logicalId: `${pascalCase(name)}Alias` };
    const group = { name: settings.name, config: `CodeDeployDefault.${traffic}` };
    const functionId = aws.naming.getLambdaLogicalId(name);
    Object.assign(Resources, shiftedFunction(pascalCase(name), functionId, group, settings.targetAlias));
  }
}

const codeDeployResources = (stack, role, boundary) => ({
  Traffic: { Type: "AWS::CodeDeploy::Application", Properties: { ApplicationName: stack, ComputePlatform: "Lambda" } },
  TrafficRole: {
    Type: "AWS::IAM::Role",
    Properties: {
      RoleName: role,
      PermissionsBoundary: boundary,
      AssumeRolePolicyDocument: {
        Version: "2012-10-17",
        Statement: [{ Effect: "Allow", Principal: { Service: "codedeploy.amazonaws.com" }, Action: "sts:AssumeRole" }],
      },
      ManagedPolicyArns: [
        { "Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSCodeDeployRoleForLambdaLimited" },
      ],
    },
  },
});

const shiftedFunction = (id, functionId, group, alias) => ({
  // A version is immutable. xtask adds the hash of the code to this logical id, so that new code creates a new version.
  [`${id}Version`]: { Type: "AWS::Lambda::Version", Properties: { FunctionName: { Ref: functionId } } },
  [alias.logicalId]: {
    Type: "AWS::Lambda::Alias",
    Properties: {
      Name: alias.name,
      FunctionName: { Ref: functionId },
      FunctionVersion: { "Fn::GetAtt": [`${id}Version`, "Version"] },
    },
    UpdatePolicy: {
      CodeDeployLambdaAliasUpdate: {
        ApplicationName: { Ref: "Traffic" },
        DeploymentGroupName: { Ref: `${id}Traffic` },
      },
    },
  },
  [`${id}Traffic`]: {
    Type: "AWS::CodeDeploy::DeploymentGroup",
    Properties: {
      ApplicationName: { Ref: "Traffic" },
      DeploymentGroupName: group.name,
      DeploymentConfigName: group.config,
      DeploymentStyle: { DeploymentType: "BLUE_GREEN", DeploymentOption: "WITH_TRAFFIC_CONTROL" },
      ServiceRoleArn: { "Fn::GetAtt": ["TrafficRole", "Arn"] },
      AlarmConfiguration: { Enabled: true, Alarms: [{ Name: { Ref: `${id}RegressionAlarm` } }] },
      AutoRollbackConfiguration: {
        Enabled: true,
        Events: ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"],
      },
    },
  },
});

// osls makes event source mappings of an alias depend on the shared role, which does not exist.
function removeSharedRoleDependency(resources) {
  for (const mapping of Object.values(resources).filter(({ Type }) => Type === "AWS::Lambda::EventSourceMapping"))
    mapping.DependsOn = [mapping.DependsOn].flat().filter((id) => id !== "IamRoleLambdaExecution");
}

// Creates the stage of an API as a resource of its own, with X-Ray tracing, an access log and limits of requests. In the template
// of osls, the deployment creates the stage, and CloudFormation accepts settings of the stage only in the first deployment:
// "StageDescription cannot be specified when stage referenced by StageName already exists". With a stage of its own, a failed
// update also restores the deployment of the stage.
function separateApiStage(resources, { custom }, TracingEnabled) {
  delete resources.ApiGatewayRestApi.Properties.Policy; // osls sets it to "", and changing it needs another permission
  const [id, { Properties, ...deployment }] = Object.entries(resources).find(([, { Type }]) => Type === DEPLOYMENT);
  const { StageName, RestApiId, ...own } = Properties;
  // xtask adds a hash of the API to this logical ID, and updates the reference.
  delete resources[id];
  resources.ApiGatewayDeployment = { ...deployment, Properties: { RestApiId, ...own } };
  resources.ApiGatewayAccessLog = {
    Type: "AWS::Logs::LogGroup",
    Properties: {
      LogGroupName: `/aws/apigateway/scratchpad-${StageName}`,
      RetentionInDays: custom.stage.logRetentionInDays,
    },
  };
  resources.ApiGatewayStage = {
    Type: "AWS::ApiGateway::Stage",
    Properties: {
      RestApiId,
      StageName,
      DeploymentId: { Ref: "ApiGatewayDeployment" },
      TracingEnabled,
      AccessLogSetting: { DestinationArn: { "Fn::GetAtt": ["ApiGatewayAccessLog", "Arn"] }, Format: accessLogFormat },
      MethodSettings: methodSettings(custom.stage.throttling),
    },
  };
}

// A line of the access log: JSON with the members below, whose values are variables of API Gateway. It names no user, because API
// Gateway cannot hash an ID, and contains no part of a body. The function's line with the same request_id has the hash of the user.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
const accessLogFormat = JSON.stringify({
  request_id: "$context.requestId",
  aws_request_id: "$context.awsEndpointRequestId", // Lambda's ID of the invocation, also if the function crashed
  trace_id: "$context.xrayTraceId",
  time: "$context.requestTimeEpoch", // ms since 1970
  method: "$context.httpMethod",
  route: "$context.resourcePath",
  status: "$context.status",
  latency_ms: "$context.responseLatency",
  integration_latency_ms: "$context.integrationLatency",
  integration_status: "$context.integrationStatus",
  error: "$context.error.responseType",
});

// The limits of the API, by method. CloudFormation encodes the slashes of a path as ~1.
const methodSettings = ({ default: all, ...methods }) => [
  methodSetting("/*", "*", all),
  ...Object.entries(methods).map(([route, limits]) => {
    const [method, path] = route.split(" ");
    return methodSetting(`/~1${path.replaceAll("/", "~1")}`, method, limits);
  }),
];
const methodSetting = (ResourcePath, HttpMethod, { rate, burst }) => ({
  ResourcePath,
  HttpMethod,
  ThrottlingRateLimit: rate,
  ThrottlingBurstLimit: burst,
});

// The service that does not own the API has no deployment of it: xtask deploys the API when all stacks are updated. A deployment
// that names the API's stage would be dangerous: when CloudFormation rolls back or deletes such a deployment, it can delete the
// stage.
function removeDeployments(resources) {
  for (const [id, { Type }] of Object.entries(resources)) if (Type === DEPLOYMENT) delete resources[id];
}
