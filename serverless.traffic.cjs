// An osls plugin. Where the stage's row shifts traffic, calls go to an alias of each function, which CodeDeploy moves to
// new code bit by bit, and back if that fails:
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-updatepolicy.html

const { pascalCase, shifts } = require("./serverless.resources.cjs");

module.exports = class Traffic {
  constructor(serverless) {
    const { service } = serverless;
    this.hooks = {
      "before:package:compileFunctions": () => shift(service, serverless.getProvider("aws")),
      "before:package:finalize": () => {
        const { compiledCloudFormationTemplate, tracing } = service.provider;
        forgetSharedRole(compiledCloudFormationTemplate.Resources);
        if (tracing?.apiGateway) traceApi(compiledCloudFormationTemplate.Resources);
      },
    };
  }
};

function shift({ functions, custom, provider }, aws) {
  const { traffic } = custom.stage;
  if (!shifts(traffic)) return;
  const { Resources } = provider.compiledCloudFormationTemplate;
  const { iamGlobalPermissionsBoundary: boundary } = custom["serverless-iam-roles-per-function"];
  Object.assign(
    Resources,
    codeDeploy(aws.naming.getStackName(), `scratchpad-${aws.getStage()}-${custom.unit}-traffic`, boundary),
  );
  for (const [name, settings] of Object.entries(functions)) {
    // Where osls keeps the alias that a function is called by; its triggers and its leave to be called then name it.
    settings.targetAlias = { name: "live", logicalId: `${pascalCase(name)}Alias` };
    const group = { name: settings.name, config: `CodeDeployDefault.${traffic}` };
    Object.assign(
      Resources,
      shifted(pascalCase(name), aws.naming.getLambdaLogicalId(name), group, settings.targetAlias),
    );
  }
}

const codeDeploy = (stack, role, boundary) => ({
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

const shifted = (id, functionId, group, alias) => ({
  // A version never changes: whoever knows the code adds its hash to this name, and there is another version.
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

// What reads a stream for an alias waits for the role that osls declares for all functions, and none of them has.
function forgetSharedRole(resources) {
  for (const mapping of Object.values(resources).filter(({ Type }) => Type === "AWS::Lambda::EventSourceMapping"))
    mapping.DependsOn = [mapping.DependsOn].flat().filter((id) => id !== "IamRoleLambdaExecution");
}

// osls turns it on after its own deploy, which is not how a release comes to a stage.
function traceApi(resources) {
  for (const deployment of Object.values(resources).filter(({ Type }) => Type === "AWS::ApiGateway::Deployment"))
    deployment.Properties.StageDescription = { TracingEnabled: true };
}
