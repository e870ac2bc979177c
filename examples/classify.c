/* Tell which piece of clothing each picture shows: classify PICTURE.pgm ... (28 x 28, 8 bit, grey). */
#include <math.h>
#include <stdio.h>

#include "fashion.h"

static const char *const labels[10] = {"t-shirt", "trouser", "pullover", "dress",   "coat",
                                       "sandal",  "shirt",   "sneaker",  "bag",     "ankle boot"};

int main(int argc, char **argv) {
    fashion *model;
    int code = fashion_create(&model, NULL);
    if (code != FASHION_OK) {
        fprintf(stderr, "%s\n", fashion_error(code));
        return 1;
    }
    for (int picture = 1; picture < argc; picture++) {
        unsigned char grey[28 * 28];
        float pixels[28 * 28], logits[10], sum = 0;
        int best = 0;
        FILE *file = fopen(argv[picture], "rb");
        if (!file || fscanf(file, "P5 28 28 255%*c") != 0 || fread(grey, 1, sizeof grey, file) != sizeof grey) {
            fprintf(stderr, "%s is not a 28 x 28 grey picture in PGM format\n", argv[picture]);
            return 1;
        }
        fclose(file);
        for (int i = 0; i < 28 * 28; i++) pixels[i] = (grey[i] / 255.0f - 0.2860f) / 0.3530f;

        const void *inputs[] = {pixels};
        void *outputs[] = {logits};
        fashion_run(model, inputs, outputs);

        for (int i = 1; i < 10; i++) best = logits[i] > logits[best] ? i : best;
        for (int i = 0; i < 10; i++) sum += expf(logits[i] - logits[best]);
        printf("%-40s %-10s %3.0f %%\n", argv[picture], labels[best], 100 / sum);
    }
    fashion_destroy(model);
    return 0;
}
