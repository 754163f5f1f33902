# The layers of docs/architecture.md, as data. A library links only lower layers, or libraries of its own layer that it
# names; an upward link fails the configuration.
set(TAU_LAYERS
  base 0  crypto 0  codec 0
  runtime 1  project 1
  p2p 2  p2p_simulated 2  p2p_libp2p 2  net 2  net_simulated 2  process 2  store 2  store_folder 2  store_rocks 2  http 2  vm 2  vm_wasmtime 2
  command 3  content 3  crdt 3  consensus 3
  guest 4
  services 5
  node 6  node_config 6  node_user_api 6  node_local 6
  testnet 7  testnet_simulated 7  testnet_simulation 7
  bin 8)

# services_<name> and guest_<name> live in the layers `services` and `guest`.
function(tau_layer_of target out)
  string(REGEX REPLACE "^tau_" "" name ${target})
  list(FIND TAU_LAYERS ${name} i)
  if(i EQUAL -1 AND name MATCHES "^(services|guest|bin)_")
    list(FIND TAU_LAYERS ${CMAKE_MATCH_1} i)
  endif()
  if(i EQUAL -1)
    message(FATAL_ERROR "${target} has no layer: name it in cmake/Layers.cmake")
  endif()
  math(EXPR i "${i} + 1")
  list(GET TAU_LAYERS ${i} layer)
  set(${out} ${layer} PARENT_SCOPE)
endfunction()

function(tau_check_layers)
  get_property(libraries GLOBAL PROPERTY TAU_LIBRARIES)
  foreach(lib IN LISTS libraries)
    tau_layer_of(${lib} mine)
    get_target_property(deps ${lib} TAU_DEPS)
    foreach(dep IN LISTS deps)
      if(NOT TARGET tau_${dep})
        message(FATAL_ERROR "${lib} links tau_${dep}, which does not exist")
      endif()
      tau_layer_of(tau_${dep} theirs)
      if(theirs GREATER mine)
        message(FATAL_ERROR "${lib} (layer ${mine}) must not link tau_${dep} (layer ${theirs}): a library links only "
          "lower layers (docs/architecture.md)")
      endif()
      # Of one another, services may use the wire interface alone: services/<x>/api.h and client.h, targets services_<x>_api and services_<x>_client.
      if(mine EQUAL 5 AND theirs EQUAL 5 AND NOT dep MATCHES "_(api|client)$")
        message(FATAL_ERROR "${lib} must not link tau_${dep}: of another service only its _api or _client target")
      endif()
    endforeach()
  endforeach()
endfunction()
