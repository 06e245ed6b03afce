/* A user of the installed package: prints the version; with a model file also its token count. */
#include <runnel.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  runnel_engine_options options;
  runnel_engine* engine = NULL;
  runnel_engine_options_init(&options);
  printf("runnel %s\n", runnel_version());

  /* An error is a status and a text. */
  options.model_path = "no-such-file.gguf";
  if (runnel_engine_create(&options, &engine) == RUNNEL_OK) return 1;
  if (strlen(runnel_last_error()) == 0) return 1;
  if (argc < 2) return 0;

  options.model_path = argv[1];
  if (runnel_engine_create(&options, &engine) != RUNNEL_OK) {
    fprintf(stderr, "%s\n", runnel_last_error());
    return 1;
  }
  const char* text = "The river runs.";
  int32_t ids[32];
  size_t n_ids = 0;
  runnel_status status =
      runnel_tokenize(engine, text, strlen(text), RUNNEL_TOKENS_PLAIN, ids, 32, &n_ids);
  printf("tokens %d\n", (int)n_ids);
  runnel_engine_destroy(engine);
  return status == RUNNEL_OK && n_ids > 0 ? 0 : 1;
}
