#include "project/workflow.h"

#include <gtest/gtest.h>

#include "project/writer.h"

namespace tau::project {
namespace {

std::map<std::string, Bytes> folder(std::string_view config, const std::string& name = ".taubyte") {
  return {{name + "/config.yaml", to_bytes(config)},
          {name + "/build.sh", to_bytes("true")},
          {name + "/test.sh", to_bytes("true")}};
}

TEST(Workflow, IsReadFromTheFolderThatIsThere) {
  for (const std::string name : {".taubyte", "taubyte"}) {
    Problems problems;
    const auto workflow = read_workflow(
        folder("version: 1.00\nenviroment:\n  image: taubyte/cpp-wasi\n  variables:\n    A: 1\n"
               "workflow:\n  - build\n  - test\n",
               name),
        "functions/ping/", problems);
    ASSERT_TRUE(workflow) << problems.to_string();
    EXPECT_EQ(workflow->folder, name);
    EXPECT_EQ(workflow->image, "taubyte/cpp-wasi");
    EXPECT_EQ(workflow->variables.at("A"), "1");
    EXPECT_EQ(workflow->steps, (std::vector<std::string>{"build", "test"}));
    EXPECT_TRUE(problems.list().empty()) << problems.to_string();
  }
}

TEST(Workflow, ReadsWhatTheWriterWrites) {
  Problems problems;
  const auto workflow =
      read_workflow(folder(workflow_yaml("taubyte/cpp-wasi", {"build"})), "", problems);
  ASSERT_TRUE(workflow) << problems.to_string();
  EXPECT_TRUE(problems.list().empty()) << problems.to_string();
}

TEST(Workflow, SaysWhereItIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"environment: {image: x}\nworkflow: [../../bin/sh]\n", "f/.taubyte/config.yaml:2:12"},
      {"environment: {image: x}\nworkflow: [deploy]\n", "there is no f/.taubyte/deploy.sh"},
      {"environment: {image: x}\nworkflow: build\n", "must be a list"},
      {"environment: {image: x}\n", "\"workflow\" is missing"},
      {"workflow: [build]\n", "\"image\" is missing"},
      {"environment: {image: x, variables: {A: [1]}}\nworkflow: [build]\n", "single value"},
      {"environment: {image: x, variables: {'A=B': 1}}\nworkflow: [build]\n", "name of a variable"},
  };
  for (const auto& [text, says] : cases) {
    Problems problems;
    EXPECT_FALSE(read_workflow(folder(text), "f/", problems)) << text;
    EXPECT_NE(problems.to_string().find(says), std::string::npos) << problems.to_string();
  }
  Problems problems;
  EXPECT_FALSE(read_workflow({}, "functions/ping/", problems));
  EXPECT_NE(problems.to_string().find("functions/ping/.taubyte/config.yaml"), std::string::npos);
}

}  // namespace
}  // namespace tau::project
