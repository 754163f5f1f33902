#include "testnet/fixtures.h"

namespace tau::testnet {

const std::vector<Fixture>& fixtures() {
  static const std::vector<Fixture> all = {
      {"push-all",
       "Registers the project of a folder, if it is new here, and pushes both repositories.",
       {"path", "branch", "label", "no-follow"}},
      {"push-specific",
       "Pushes one repository of the project of a folder.",
       {"repository", "path", "branch", "label", "no-follow"}},
      {"attach-domain",
       "Gives the project of a folder one more host name, for all its functions, and pushes it.",
       {"fqdn", "path", "no-follow"}},
      {"fake-project",
       "Makes a project with one function and pushes it, so that there is something to ask.",
       {"name", "no-follow"}},
      {"build-local-project",
       "Builds the project of a folder straight into the universe: push-all by its other name.",
       {"path", "branch", "label", "no-follow"}},
      {"set-branch",
       "Not needed.",
       {},
       "every branch that is pushed is served, main at LABEL.UNIVERSE.localhost and another at "
       "BRANCH--LABEL.UNIVERSE.localhost: dream inject push-all --branch NAME"},
      {"inject-project",
       "Not needed.",
       {},
       "dream inject push-all --path FOLDER registers the project and pushes it; a new one is made "
       "by tau new project NAME"},
      {"compile-for",
       "Not needed.",
       {},
       "a push builds what the commit changed: dream inject push-all --path FOLDER; tau logs "
       "--build shows how"},
      {"clear-repos",
       "Not needed.",
       {},
       "repositories live inside the universe: dream kill universe NAME --erase forgets them all"},
      {"attach-plugin",
       "Not possible.",
       {},
       "this cloud has no plugins; what a function may call is the same in every universe"},
      {"attach-prod-project",
       "Not possible.",
       {},
       "clone the project's repositories into FOLDER/config and FOLDER/code, then: dream inject "
       "push-all --path FOLDER"},
      {"import-prod-project",
       "Not possible.",
       {},
       "clone the project's repositories into FOLDER/config and FOLDER/code, then: dream inject "
       "push-all --path FOLDER"},
  };
  return all;
}

http::Json fixtures_json() {
  http::Json all = http::Json::array();
  for (const Fixture& fixture : fixtures()) {
    http::Json one = {{"name", fixture.name},
                      {"summary", fixture.summary},
                      {"parameters", fixture.parameters},
                      {"available", fixture.instead.empty()}};
    if (!fixture.instead.empty()) one["instead"] = fixture.instead;
    all.push_back(std::move(one));
  }
  return {{"fixtures", std::move(all)}};
}

}  // namespace tau::testnet
